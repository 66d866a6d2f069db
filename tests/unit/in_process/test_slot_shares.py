"""Which of llama.cpp's slots hold which prompt prefix."""

from __future__ import annotations

import threading

import pytest

from urial_core.backends.llama_cpp.slot_shares import SlotShares


def fill(shares: SlotShares, prefix: str, count: int | None = None) -> list[int]:
    """Fill slots with a prefix and return which."""
    with shares.filling(prefix, count) as slots:
        return slots


def test_each_request_fills_one_more_slot() -> None:
    """A prefix takes as many slots as requests came for it, at most all of them."""
    shares = SlotShares(4)
    assert [fill(shares, "a", count) for count in (1, 2, None, 1)] == [[0], [1, 2], [3], []]


def test_prompts_share_the_slots() -> None:
    """A second prefix takes every second slot, filled or not, and a third one every third."""
    shares = SlotShares(6)
    assert fill(shares, "a", 2) == [0, 1]
    assert fill(shares, "b", 1) == [1]
    assert fill(shares, "a") == [2, 4]
    assert fill(shares, "c") == [2, 5]
    assert fill(shares, "b") == [3]


def test_one_slot_serves_any_number_of_prompts() -> None:
    """Each new prefix takes the only slot, also where the server does not say how many it has."""
    for slots in (0, 1):
        shares = SlotShares(slots)
        assert [fill(shares, prefix) for prefix in "abca"] == [[0], [0], [0], []]


def test_a_slot_that_failed_is_filled_again() -> None:
    """After an exception, the next request fills the slots that were not."""
    shares = SlotShares(2)
    with pytest.raises(OSError, match="full"), shares.filling("a", 1):
        raise OSError("the disk is full")
    assert fill(shares, "a") == [0, 1]


def test_requests_wait_for_their_own_prefix_only() -> None:
    """While one prefix is computed, a request for another one does not wait."""
    shares = SlotShares(6)
    second = threading.Thread(target=fill, args=(shares, "a", 1))
    with shares.filling("a", 1):
        second.start()
        second.join(0.05)
        assert second.is_alive()
        assert fill(shares, "b", 1) == [1]
    second.join()
    assert fill(shares, "a") == [4]


def test_those_who_waited_are_provided_for_together() -> None:
    """The first of those who waited fills a slot for each; the others have nothing to fill."""
    shares = SlotShares(6)
    filled = list[list[int]]()
    threads = [
        threading.Thread(target=lambda: filled.append(fill(shares, "a", 1))) for _ in range(3)
    ]
    with shares.filling("a", 1):
        for thread in threads:
            thread.start()
        threads[0].join(0.1)
    for thread in threads:
        thread.join()
    assert filled == [[1, 2, 3], [], []]
