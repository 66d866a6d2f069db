"""Tokens: a text's tokens, as the server's own tokenizer has them."""

from __future__ import annotations

from urial_core.backends.completions_server.discovery import Server
from urial_core.backends.completions_server.exchange import Ask, Exchange
from urial_core.errors import UnsupportedModelError

__all__ = ["token_ids_of"]


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
