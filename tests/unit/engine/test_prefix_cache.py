"""The prefix cache: what it matches, what it shares, and what it evicts first."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from urial_core.backends.transformers.prefix_tree import KeysAndValues, PrefixTree
from urial_core.backends.transformers.tokenization import common_prefix

BYTES_PER_TOKEN = 2 * 4 * 4  # keys and values, four float32 each


def layers(ids: tuple[int, ...]) -> KeysAndValues:
    """Return keys that hold the tokens themselves, and values that hold their negatives."""
    keys = torch.tensor(ids, dtype=torch.float32).view(1, -1, 1).expand(1, -1, 4)
    return [(keys, -keys)]


def add(cache: PrefixTree, *ids: int, pinned: bool = False) -> None:
    cache.add(ids, layers(ids), pinned=pinned)


def cached(cache: PrefixTree, *ids: int) -> tuple[int, ...]:
    """Return the tokens whose keys and values are found for a sequence."""
    match = cache.match(ids)
    keys = [int(key) for segment in match.segments for key in segment[0][0][0, :, 0]]
    values = [int(-value) for segment in match.segments for value in segment[0][1][0, :, 0]]
    assert keys == values
    return tuple(keys[: match.length])


def test_longest_match() -> None:
    """The longest cached prefix of a prompt is found, with its own keys and values."""
    cache = PrefixTree(10**6)
    add(cache, 1, 2, 3, pinned=True)
    add(cache, 1, 2, 3, 4, 5)
    assert cached(cache, 1, 2, 3, 4, 9) == (1, 2, 3, 4)
    assert cached(cache, 1, 2) == (1, 2)
    assert cached(cache, 7, 8) == ()


def test_only_one_weights_keys_are_cached() -> None:
    """The cache is emptied for other weights; a reply that older ones wrote is not added."""
    cache = PrefixTree(10**6)
    add(cache, 1, 2)
    cache.use_for(7)
    add(cache, 1, 2, 3)  # by the weights before
    assert (cached(cache, 1, 2, 3), cache.nbytes) == ((), 0)


def test_what_sequences_share_is_held_once() -> None:
    """A turn more costs its own tokens only, and so does another conversation."""
    cache = PrefixTree(10**6)
    add(cache, 1, 2, pinned=True)
    add(cache, 1, 2, 3, 4)
    add(cache, 1, 2, 3, 5, 6)
    add(cache, 1, 2, 3, 5, 6)
    assert cache.nbytes == 6 * BYTES_PER_TOKEN
    assert cached(cache, 1, 2, 3, 4) == (1, 2, 3, 4)
    assert cached(cache, 1, 2, 3, 5, 6) == (1, 2, 3, 5, 6)


def test_memory_bound() -> None:
    """Memory stays bounded: the least recently used goes first, and pinned prefixes last."""
    cache = PrefixTree(BYTES_PER_TOKEN * 7)
    add(cache, 0, 1, pinned=True)
    add(cache, 5, 1)
    add(cache, 6, 1)
    cache.match((5, 1))  # used again, so 6 is the older one
    add(cache, 7, 1)
    assert cache.nbytes <= cache.max_bytes
    assert [len(cached(cache, first, 1)) for first in (0, 5, 6, 7)] == [2, 2, 0, 2]


def test_only_the_prefix_itself_is_pinned() -> None:
    """What follows a pinned prefix is evicted before anything that was used later."""
    cache = PrefixTree(BYTES_PER_TOKEN * 5)
    add(cache, 1, 2, 3)
    add(cache, 1, 2, pinned=True)
    add(cache, 8, 9, 7)
    assert cached(cache, 1, 2, 3) == (1, 2)
    assert cached(cache, 8, 9, 7) == (8, 9, 7)


def test_too_large_a_prefix_is_not_cached() -> None:
    """A prefix larger than the whole bound is refused and evicts nothing."""
    cache = PrefixTree(BYTES_PER_TOKEN * 2)
    add(cache, 1, 2, pinned=True)
    add(cache, 1, 2, 3)
    assert not cache.fits(3)
    assert cache.nbytes == 2 * BYTES_PER_TOKEN


@given(
    sequences=st.lists(
        st.tuples(st.lists(st.integers(1, 3), min_size=1, max_size=8), st.booleans()), max_size=30
    ),
    room=st.integers(1, 30),
)
def test_any_sequences(sequences: list[tuple[list[int], bool]], room: int) -> None:
    """What is found is right, within the bound, and what was added last is found whole."""
    cache = PrefixTree(BYTES_PER_TOKEN * room)
    for ids, pinned in sequences:
        add(cache, *ids, pinned=pinned)
        assert cache.nbytes <= cache.max_bytes
        for known, _ in sequences:
            found = cached(cache, *known)
            assert found == tuple(known[: len(found)])
    unbounded = PrefixTree(10**6)
    for ids, pinned in sequences:
        add(unbounded, *ids, pinned=pinned)
        assert cached(unbounded, *ids) == tuple(ids)
    prefixes = {tuple(ids[:n]) for ids, _ in sequences for n in range(1, len(ids) + 1)}
    assert unbounded.nbytes == len(prefixes) * BYTES_PER_TOKEN


def test_common_prefix() -> None:
    """The common prefix ends where either sequence does."""
    assert common_prefix((1, 2, 3), (1, 2)) == 2
    assert common_prefix((1, 2), (3,)) == 0
    assert common_prefix((), (1,)) == 0
    long = tuple(range(1000))
    for length in (0, 1, 63, 64, 65, 500, 999, 1000):
        assert common_prefix(long, (*long[:length], -1, *long[length + 1 :])[:1000]) == length
