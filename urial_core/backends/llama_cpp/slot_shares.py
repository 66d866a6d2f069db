"""Which of llama.cpp's slots are to hold which prompt prefix."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["SlotShares"]


@dataclass(slots=True)
class _Share:
    """One prefix's slots that are to be filled, and how many are wanted of all and filled."""

    unfilled: list[int]
    wanted: int = 0
    filled: int = 0
    filling: threading.Lock = field(default_factory=threading.Lock)


class SlotShares:
    """Each prompt prefix's share of the slots, filled as requests come.

    The first prefix may fill every slot, a second one every second slot, and so on, so that the
    prompts of one application do not push each other out. Each request wants one more slot until
    the share is filled: the first one waits for one copy only, and those that come while another
    one fills are provided for together.
    """

    def __init__(self, slots: int) -> None:
        """Share this many slots, 1 at least."""
        self._slots = max(slots, 1)
        self._shares = dict[str, _Share]()
        self._lock = threading.Lock()

    @contextmanager
    def filling(self, prefix: str, count: int | None = None) -> Generator[list[int]]:
        """Give the slots that the caller is to fill with a prefix; those are filled at the end.

        Callers with the same prefix wait for each other, those with another one do not. After an
        exception, the slots are still to be filled.

        Args:
            prefix: The prefix's text.
            count: How many more slots the caller wants. Default: all that the prefix may have.
        """
        with self._lock:
            share = self._shares.get(prefix) or self._new_share(prefix)
            share.wanted += self._slots if count is None else count
        with share.filling:
            slots = share.unfilled[: share.wanted - share.filled]
            yield slots
            with self._lock:
                share.unfilled = [slot for slot in share.unfilled if slot not in slots]
                share.filled += len(slots)

    def _new_share(self, prefix: str) -> _Share:
        """Give a new prefix its slots; those that others have not filled are left to it."""
        earlier = len(self._shares)
        slots = range(earlier % self._slots, self._slots, earlier + 1)
        for share in self._shares.values():
            share.unfilled = [slot for slot in share.unfilled if slot not in slots]
        share = self._shares[prefix] = _Share(list(slots))
        return share
