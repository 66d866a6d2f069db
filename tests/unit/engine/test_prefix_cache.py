"""The prefix cache: what it matches, and what it evicts first."""

from __future__ import annotations

import torch

from urial_core.backends.transformers.kv_cache import CachedPrefix, PrefixCache
from urial_core.backends.transformers.tokenization import common_prefix

BYTES_PER_TOKEN = 2 * 4 * 4  # keys and values, four float32 each


def prefix(*ids: int) -> CachedPrefix:
    tensor = torch.zeros(1, 1, len(ids), 4)
    return CachedPrefix(ids, ((tensor, tensor.clone()),))


def test_longest_match() -> None:
    """The prefix that shares most tokens with a prompt is found, and how many it shares."""
    cache = PrefixCache(10**6)
    cache.add(prefix(1, 2, 3), pinned=True)
    cache.add(prefix(1, 2, 3, 4, 5))
    found, length = cache.match((1, 2, 3, 4, 9))
    assert found
    assert (found.ids, length) == ((1, 2, 3, 4, 5), 4)
    assert cache.match((7, 8)) == (None, 0)


def test_a_conversation_replaces_its_earlier_turns() -> None:
    """A conversation replaces the shorter one it continues, but never a pinned prefix."""
    cache = PrefixCache(10**6)
    cache.add(prefix(1, 2), pinned=True)
    cache.add(prefix(1, 2, 3))
    cache.add(prefix(1, 2, 3, 4))
    assert cache.nbytes == 6 * BYTES_PER_TOKEN
    assert cache.match((1, 2, 9))[1] == 2


def test_memory_bound() -> None:
    """Memory stays bounded: conversations are evicted before pinned prefixes, least used first."""
    cache = PrefixCache(BYTES_PER_TOKEN * 7)
    cache.add(prefix(0, 1), pinned=True)
    cache.add(prefix(5, 1))
    cache.add(prefix(6, 1))
    cache.match((5, 1))  # used again, so 6 is the older one
    cache.add(prefix(7, 1))
    assert cache.nbytes <= cache.max_bytes
    assert [cache.match((first, 1))[1] for first in (0, 5, 6, 7)] == [2, 2, 0, 2]


def test_too_large_a_prefix_is_not_cached() -> None:
    """A prefix larger than the whole bound is refused and evicts nothing."""
    cache = PrefixCache(BYTES_PER_TOKEN * 2)
    cache.add(prefix(1, 2), pinned=True)
    cache.add(prefix(1, 2, 3))
    assert cache.too_long == 3
    assert cache.nbytes == 2 * BYTES_PER_TOKEN


def test_common_prefix() -> None:
    """The common prefix ends where either sequence does."""
    assert common_prefix((1, 2, 3), (1, 2)) == 2
    assert common_prefix((1, 2), (3,)) == 0
    assert common_prefix((), (1,)) == 0
    long = tuple(range(1000))
    for length in (0, 1, 63, 64, 65, 500, 999, 1000):
        assert common_prefix(long, (*long[:length], -1, *long[length + 1 :])[:1000]) == length
