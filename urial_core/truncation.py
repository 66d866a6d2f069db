"""Truncation: make a conversation fit the context window by leaving text out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

from urial_core.prompts.turns import Turn

__all__ = ["truncate"]

_MIN_KEPT = 200
"""Characters that a text which is cut keeps at least: less would say nothing."""


def truncate(
    turns: Sequence[Turn], excess: Callable[[Sequence[Turn]], int], count: Callable[[Turn], int]
) -> list[Turn]:
    """Leave out what does not fit: the oldest exchanges, then the middle of the longest texts.

    An exchange is a user's message and all that answers it; the last one stays, and so do system
    messages. Where they alone are too long, each text is cut to the same length, as long as fits,
    and a mark says how much is missing there; shorter texts and tool calls stay whole.

    Args:
        turns: The conversation.
        excess: Counts the tokens by which prompt and reply exceed the window.
        count: Counts a turn's tokens, roughly.

    Returns:
        The turns to write. Turns that were cut are new objects. They may still not fit.
    """
    kept = list(turns)
    exchanges = _droppable_exchanges(turns)
    while (tokens := excess(kept)) > 0 and exchanges:
        dropped = set[int]()
        while exchanges and tokens > 0:
            exchange = exchanges.pop(0)
            tokens -= sum(map(count, exchange))
            dropped |= {id(turn) for turn in exchange}
        kept = [turn for turn in kept if id(turn) not in dropped]
    if tokens <= 0:
        return kept
    longest = max((len(turn.text) for turn in kept), default=0)
    lengths = range(_MIN_KEPT, longest)
    too_long = bisect_left(lengths, 1, key=lambda length: excess(_cut_all(kept, length)) > 0)
    return _cut_all(kept, lengths[too_long - 1]) if too_long else kept


def _droppable_exchanges(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Return all exchanges but the last, oldest first, without system messages."""
    exchanges: list[list[Turn]] = [[]]
    for turn in turns:
        if turn.kind == "user" and exchanges[-1]:
            exchanges.append([])
        if turn.kind != "system":
            exchanges[-1].append(turn)
    return exchanges[:-1]


def _cut_all(turns: Sequence[Turn], length: int) -> list[Turn]:
    return [
        replace(turn, text=_cut(turn.text, length))
        if len(turn.text) > length and turn.kind != "call"
        else turn
        for turn in turns
    ]


def _cut(text: str, length: int) -> str:
    """Return a text's start and end, of so many characters together, with a mark between."""
    start, end = length - length // 2, len(text) - length // 2
    return f"{text[:start]}\n[... {end - start:,} characters left out ...]\n{text[end:]}"
