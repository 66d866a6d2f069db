"""Tokens: a text's tokens, as the server's own tokenizer has them."""

from __future__ import annotations

import threading
from typing import Any

from urial_core.backends.completions_server.discovery import Server
from urial_core.backends.completions_server.exchange import Ask, Exchange
from urial_core.errors import UnsupportedModelError

__all__ = ["KnownTokens", "token_ids_of"]

_MOST_KNOWN = 512


class KnownTokens:
    """The tokens of the last few hundred texts, so that each is asked for once."""

    def __init__(self) -> None:
        self._ids = dict[str, tuple[int, ...]]()
        self._lock = threading.Lock()

    def of(self, text: str, server: Server) -> Exchange[tuple[int, ...]]:
        """The token ids of a page's text, begin-of-text included."""
        ids = self._ids.get(text)
        if ids is None:
            ids = yield from token_ids_of(text, server)
            with self._lock:
                self._ids[text] = ids
                if len(self._ids) > _MOST_KNOWN:
                    del self._ids[next(iter(self._ids))]
        return ids

    def put_in(self, body: dict[str, Any], server: Server) -> Exchange[dict[str, Any]]:
        """Put a page's tokens in its text's place in a body, where that keeps the text text."""
        if not (server.tokenizes and server.dialect.keeps_text):
            return body
        ids = yield from self.of(body["prompt"], server)
        return {**body, "prompt": list(ids)}


def token_ids_of(text: str, server: Server, *, begins: bool = True) -> Exchange[tuple[int, ...]]:
    """Ask for a text's token ids.

    Args:
        text: The text.
        server: The server.
        begins: Whether the text is the beginning of a page, and so gets the begin-of-text token.

    Raises:
        UnsupportedModelError: The server does not tell.
    """
    if server.dialect.tokenize is None:
        raise UnsupportedModelError(f"The server at {server.root} does not tell a text's tokens.")
    body = {"model": server.model, **server.dialect.tokenize(text, begins)}
    answer = yield Ask(f"{server.root}/tokenize", body)
    return tuple(answer["tokens"])
