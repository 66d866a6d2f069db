"""The exchange that computes a prompt prefix in a server's prefix caches. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from urial_core.backends.completions_server.exchanges import MISSING, Exchange, HttpRequest, Server
from urial_core.prompts.prompt import Prompt

__all__ = ["saved_prefix", "warm_up"]


def saved_prefix(prefix: str) -> str:
    """Return the name of the file in which llama.cpp saves a prompt prefix's KV cache."""
    return f"urial-{sha256(prefix.encode()).hexdigest()[:16]}.bin"


def warm_up(
    prompt: Prompt | str,
    server: Server,
    *,
    is_saved: bool = False,
    slots: Sequence[int] | None = None,
) -> Exchange[None]:
    """Compute a prompt prefix in each of the server's prefix caches.

    vLLM shares one among all requests. llama.cpp has one per slot: the first slot's is saved and
    restored into the others, where the server allows that (``--slot-save-path``), so that replies
    do not depend on the slot. Where it does not, each slot reads the prefix. Slots that are writing
    a reply are left out rather than waited for, and if all of ``slots`` are, one that is idle does.

    Args:
        prompt: The prompt, or its prefix's text.
        server: The server.
        is_saved: Whether the server's folder may hold this model's ``saved_prefix`` already.
        slots: llama.cpp's slots to do it in. Default: all.
    """
    prefix = prompt if isinstance(prompt, str) else prompt.prefix
    body = {"model": server.model, "prompt": prefix, "max_tokens": 1, "temperature": 0.0}
    if not server.slots:
        yield HttpRequest(body)
        return
    file = {"filename": saved_prefix(prefix)}
    states = yield HttpRequest(None, f"{server.root}/slots", optional=MISSING)
    known = states if isinstance(states, list) else ()
    busy = [
        state.get("id")
        for state in known
        if isinstance(state, Mapping) and state.get("is_processing")
    ]
    idle = [slot for slot in range(server.slots) if slot not in busy]
    chosen = [slot for slot in idle if slots is None or slot in slots] or idle[:1]
    for slot in chosen:
        url = f"{server.root}/slots/{slot}?action="
        if is_saved and (yield HttpRequest(file, f"{url}restore", optional=MISSING)):
            continue
        yield HttpRequest({**body, "id_slot": slot})
        if slot == chosen[0]:
            is_saved = bool((yield HttpRequest(file, f"{url}save", optional=MISSING)))
