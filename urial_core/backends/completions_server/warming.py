"""Warming: have the constant page computed before the first user waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from urial_core.backends.completions_server.discovery import Server
from urial_core.backends.completions_server.exchange import COMPLETIONS, Ask, Exchange

__all__ = ["warmed"]


def warmed(page: str, server: Server) -> Exchange[None]:
    """Have a page computed wherever the server keeps it.

    vLLM keeps it for all requests. llama.cpp keeps it for each of its slots: the first one's state
    is saved and restored into the others, where the server allows that (``--slot-save-path``), and
    each is asked to read the page, which costs a token where it was restored and the whole page
    where it was not.
    """
    body: Mapping[str, Any] = {
        "model": server.model,
        "prompt": page,
        "max_tokens": 1,
        "temperature": 0.0,
    }
    if not server.slots:
        yield Ask(COMPLETIONS, body)
        return
    state = {"filename": f"urial-{sha256(page.encode()).hexdigest()[:16]}.bin"}
    saved = None
    for slot in range(server.slots):
        if saved is not None:
            yield Ask(f"{server.root}/slots/{slot}?action=unescape", state, optional=True)
        yield Ask(COMPLETIONS, {**body, "id_slot": slot})
        if slot == 0:
            saved = yield Ask(f"{server.root}/slots/0?action=save", state, optional=True)
