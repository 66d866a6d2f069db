"""Keys and values of earlier pages, so that only what is new need be computed."""

from __future__ import annotations

from urial_core.backends.transformers.slab_cache import CachedPrefix

__all__ = ["PrefixCache", "common_prefix"]

_STRIDE = 64
"""Tokens compared at once: slices are compared at the speed of C."""


class PrefixCache:
    """Token sequences with their keys and values, under a memory bound.

    Constant prefixes and whole conversations are kept alike; where memory runs out, the least
    recently used conversation goes first, and constant prefixes after all conversations.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create an empty cache that holds at most ``max_bytes`` of keys and values."""
        self.max_bytes = max_bytes
        self._constant = dict[tuple[int, ...], CachedPrefix]()  # oldest use first, as below
        self._conversations = dict[tuple[int, ...], CachedPrefix]()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(
            s.nbytes for kept in (self._constant, self._conversations) for s in kept.values()
        )

    def __len__(self) -> int:
        return len(self._constant) + len(self._conversations)

    def match(self, ids: tuple[int, ...]) -> tuple[CachedPrefix | None, int]:
        """Find the sequence that shares the longest beginning with ``ids``, and its length."""
        best: CachedPrefix | None = None
        length = 0
        for kept in (self._constant, self._conversations):
            for segment in kept.values():
                shared = common_prefix(segment.ids, ids)
                if shared > length:
                    best, length = segment, shared
        if best is not None:
            for kept in (self._constant, self._conversations):
                if best.ids in kept:
                    kept[best.ids] = kept.pop(best.ids)
        return best, length

    def add(self, segment: CachedPrefix, *, constant: bool = False) -> bool:
        """Keep a sequence, in place of any conversation that it continues; say if it is kept."""
        if segment.nbytes > self.max_bytes:
            return False
        for ids in [ids for ids in self._conversations if ids == segment.ids[: len(ids)]]:
            del self._conversations[ids]
        kept = self._constant if constant else self._conversations
        kept[segment.ids] = segment
        while self.nbytes > self.max_bytes:
            oldest = self._conversations or self._constant
            del oldest[next(iter(oldest))]
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._constant.clear()
        self._conversations.clear()


def common_prefix(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many tokens two sequences share from their start."""
    shortest = min(len(first), len(second))
    at = 0
    while at + _STRIDE <= shortest and first[at : at + _STRIDE] == second[at : at + _STRIDE]:
        at += _STRIDE
    while at < shortest and first[at] == second[at]:
        at += 1
    return at
