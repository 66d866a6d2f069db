"""Budget: the tokens that page and reply share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from urial_core.parameters import DEFAULT_MAX_TOKENS

__all__ = ["MIN_REPLY_TOKENS", "TokenBudget", "reply_tokens"]

MIN_REPLY_TOKENS = 64
"""The least room a reply must have where no ``max_tokens`` was asked for."""


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """The model's window, in tokens, and how its tokenizer counts a text."""

    window: int
    count: Callable[[str], int]


def reply_tokens(asked: int | None, room: int | None) -> int:
    """Decide a reply's length limit, in tokens.

    Args:
        asked: What the user wants; kept as it is.
        room: What the window leaves beside the page; None if unknown.
    """
    if asked is not None:
        return asked
    if room is None:
        return DEFAULT_MAX_TOKENS
    return max(min(DEFAULT_MAX_TOKENS, room), MIN_REPLY_TOKENS)
