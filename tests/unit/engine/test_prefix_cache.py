"""What is kept of earlier pages, and what goes first."""

from __future__ import annotations

import torch

from urial_core.backends.transformers.prefix_cache import PrefixCache, common_prefix
from urial_core.backends.transformers.slab_cache import CachedPrefix

BYTES_PER_TOKEN = 2 * 4 * 4  # keys and values, four float32 each


def segment(*ids: int) -> CachedPrefix:
    tensor = torch.zeros(1, 1, len(ids), 4)
    return CachedPrefix(ids, ((tensor, tensor.clone()),))


def test_longest_match() -> None:
    """The sequence that shares most with a page is found, and how much it shares."""
    cache = PrefixCache(10**6)
    cache.add(segment(1, 2, 3), prefix_length=True)
    cache.add(segment(1, 2, 3, 4, 5))
    found, length = cache.match((1, 2, 3, 4, 9))
    assert found
    assert (found.ids, length) == ((1, 2, 3, 4, 5), 4)
    assert cache.match((7, 8)) == (None, 0)


def test_a_conversation_replaces_its_beginning() -> None:
    """A longer turn takes the place of the turn it continues, but never of a constant prefix."""
    cache = PrefixCache(10**6)
    cache.add(segment(1, 2), prefix_length=True)
    cache.add(segment(1, 2, 3))
    cache.add(segment(1, 2, 3, 4))
    assert len(cache) == 2
    assert cache.match((1, 2, 9))[1] == 2


def test_memory_bound() -> None:
    """No more is held than allowed; conversations go before constant prefixes, oldest use first."""
    cache = PrefixCache(BYTES_PER_TOKEN * 7)
    cache.add(segment(0, 1), prefix_length=True)
    cache.add(segment(5, 1))
    cache.add(segment(6, 1))
    cache.match((5, 1))  # used again, so 6 is the older one
    cache.add(segment(7, 1))
    assert cache.nbytes <= cache.max_bytes
    assert [cache.match((first, 1))[1] for first in (0, 5, 6, 7)] == [2, 2, 0, 2]


def test_too_large_is_not_kept() -> None:
    """A sequence larger than the whole bound drives nothing else out."""
    cache = PrefixCache(BYTES_PER_TOKEN * 2)
    cache.add(segment(1, 2), prefix_length=True)
    cache.add(segment(1, 2, 3))
    assert len(cache) == 1
    cache.clear()
    assert len(cache) == 0


def test_common_prefix() -> None:
    """The shared beginning ends where either sequence does."""
    assert common_prefix((1, 2, 3), (1, 2)) == 2
    assert common_prefix((1, 2), (3,)) == 0
    assert common_prefix((), (1,)) == 0
    long = tuple(range(1000))
    for length in (0, 1, 63, 64, 65, 500, 999, 1000):
        assert common_prefix(long, (*long[:length], -1, *long[length + 1 :])[:1000]) == length
