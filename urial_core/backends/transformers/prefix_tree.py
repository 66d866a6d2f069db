"""The prefix cache: keys and values of earlier prompts and replies, as a tree over token ids.

A prompt prefix, an application's system message after it, and each conversation after that share
the keys and values of what they have in common: a node holds those of its own tokens only, and a
path from the root is a token sequence (a radix tree, as in SGLang's RadixAttention, arXiv
2312.07104, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch

from urial_core.backends.transformers.tokenization import common_prefix

__all__ = ["KeysAndValues", "Match", "PrefixTree"]

KeysAndValues = list[tuple[torch.Tensor, torch.Tensor]]
"""For each layer, the keys and values of some tokens, [heads, tokens, dim] each."""


@dataclass(eq=False)
class _Node:
    ids: tuple[int, ...]
    layers: KeysAndValues
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)
    pinned: bool = False
    last_used: int = 0


@dataclass(frozen=True)
class Match:
    """The longest cached prefix of a token sequence.

    Attributes:
        length: How many tokens it has.
        segments: Its keys and values in order; those of the last may go on beyond ``length``.
    """

    length: int
    segments: tuple[KeysAndValues, ...]


class PrefixTree:
    """Cached prefixes under a memory bound.

    Where memory runs out, the least recently used ends of sequences are evicted first, and pinned
    prompt prefixes after all others.

    Attributes:
        max_bytes: The memory bound.
        nbytes: Memory held, in bytes.
        weights: What computed what is cached (``weights_of``).
    """

    def __init__(self, max_bytes: int) -> None:
        """Create an empty cache that holds at most ``max_bytes`` of keys and values."""
        self.max_bytes = max_bytes
        self._clock = count(1)
        self.use_for(0)

    def use_for(self, weights: int) -> None:
        """Empty the cache, and take only what these weights compute from now on."""
        self.weights = weights
        self.nbytes = 0
        self._bytes_per_token = 0
        self._root = _Node((), [], None)

    def fits(self, tokens: int) -> bool:
        """Return whether a sequence of so many tokens can be cached at all."""
        return self.max_bytes > 0 and tokens * self._bytes_per_token <= self.max_bytes

    def match(self, ids: Sequence[int]) -> Match:
        """Return the longest cached prefix of a token sequence, which counts as used now."""
        path = self._path(tuple(ids))
        now = next(self._clock)
        for node, _ in path:
            node.last_used = now
        return Match(sum(length for _, length in path), tuple(node.layers for node, _ in path))

    def add(
        self,
        ids: Sequence[int],
        layers: KeysAndValues,
        *,
        weights: int = 0,
        pinned: bool = False,
    ) -> None:
        """Cache a sequence, of which only the part that is new is copied.

        Args:
            ids: The tokens.
            layers: The keys and values of all of them; they are not kept.
            weights: What computed them; those of other weights than the cache's are not cached.
            pinned: Whether to evict it after all that is not.
        """
        ids = tuple(ids)
        self._bytes_per_token = sum(k[:, :1].nbytes + v[:, :1].nbytes for k, v in layers)
        if not ids or weights != self.weights or not self.fits(len(ids)):
            return
        path = self._path(ids)
        known = sum(length for _, length in path)
        node = self._root
        if path:
            node, length = path[-1]
            if length < len(node.ids) and (known < len(ids) or pinned):
                node = self._split(node, length)
        if known < len(ids):
            node = self._append(node, ids[known:], _columns(layers, known, len(ids)))
        now = next(self._clock)
        while node.parent is not None:
            node.pinned |= pinned
            node.last_used = now
            node = node.parent
        while self.nbytes > self.max_bytes:
            self._evict()

    def _path(self, ids: tuple[int, ...]) -> list[tuple[_Node, int]]:
        """Return the nodes that hold a sequence's first tokens, and how many of each it shares."""
        path = list[tuple[_Node, int]]()
        node, at = self._root, 0
        while at < len(ids) and (child := node.children.get(ids[at])):
            shared = common_prefix(child.ids, ids[at : at + len(child.ids)])
            path.append((child, shared))
            if shared < len(child.ids):
                break
            node, at = child, at + shared
        return path

    def _append(self, parent: _Node, ids: tuple[int, ...], layers: KeysAndValues) -> _Node:
        node = _Node(ids, layers, parent)
        parent.children[ids[0]] = node
        self.nbytes += len(ids) * self._bytes_per_token
        return node

    def _split(self, node: _Node, length: int) -> _Node:
        """Split a node after so many of its tokens; return the new node that holds these."""
        assert node.parent is not None  # noqa: S101 - the root has no tokens
        first = _Node(node.ids[:length], _columns(node.layers, 0, length), node.parent)
        first.pinned, first.last_used = node.pinned, node.last_used
        node.parent.children[first.ids[0]] = first
        node.layers = _columns(node.layers, length, len(node.ids))
        node.ids, node.parent = node.ids[length:], first
        first.children[node.ids[0]] = node
        return first

    def _evict(self) -> None:
        ends = (node for node in self._nodes() if not node.children)
        node = min(ends, key=lambda node: (node.pinned, node.last_used))
        assert node.parent is not None  # noqa: S101 - as in `_split`
        del node.parent.children[node.ids[0]]
        self.nbytes -= len(node.ids) * self._bytes_per_token

    def _nodes(self) -> Iterator[_Node]:
        waiting = list(self._root.children.values())
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            yield node


def _columns(layers: KeysAndValues, start: int, end: int) -> KeysAndValues:
    """Copy out the keys and values of some of the tokens."""
    return [(k[:, start:end].clone(), v[:, start:end].clone()) for k, v in layers]
