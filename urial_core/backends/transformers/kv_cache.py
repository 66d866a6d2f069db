"""Keep keys and values: of the batch that is being decoded, and of earlier prompts for reuse.

transformers' ``DynamicCache`` copies everything it holds for every token and, for sliding-window
layers, forgets what lies before the window. ``KVCache`` appends in place and keeps all, so that any
prefix of a sequence can be reused. Sequences are aligned at their right ends: shorter ones are
padded on the left, which leaves the distances that attention windows count as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from urial_core.backends.transformers.tokenization import common_prefix

__all__ = ["CachedPrefix", "KVCache", "PrefixCache"]

_GROWTH = 256
"""Storage grows by this many tokens at a time."""


@dataclass(frozen=True)
class CachedPrefix:
    """Keys and values of a token sequence: per layer, two tensors [1, heads, tokens, dim]."""

    ids: tuple[int, ...]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


class PrefixCache:
    """Cached prefixes under a memory bound: prompt prefixes and whole conversations.

    Where memory runs out, the least recently used conversation is evicted first, and pinned prompt
    prefixes after all conversations.

    Attributes:
        max_bytes: The memory bound.
        too_long: Fewest tokens known to exceed it: such a prefix need not be computed.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create an empty cache that holds at most ``max_bytes`` of keys and values."""
        self.max_bytes = max_bytes
        self.too_long = inf if max_bytes else 0
        self._cached = dict[tuple[int, ...], CachedPrefix]()  # least recently used first
        self._pinned = set[tuple[int, ...]]()

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(cached.nbytes for cached in self._cached.values())

    def match(self, ids: tuple[int, ...]) -> tuple[CachedPrefix | None, int]:
        """Return the cached prefix that shares most tokens with ``ids``, and how many it shares."""
        shared = {known: common_prefix(known, ids) for known in self._cached}
        best = max(shared, key=lambda known: (shared[known], known in self._pinned), default=())
        if not shared.get(best):
            return None, 0
        self._cached[best] = self._cached.pop(best)
        return self._cached[best], shared[best]

    def add(self, cached: CachedPrefix, *, pinned: bool = False) -> None:
        """Cache a prefix unless it is too large; it replaces conversations that it continues."""
        if cached.nbytes > self.max_bytes:
            self.too_long = min(self.too_long, len(cached.ids))
            return
        for ids in self._cached.keys() - self._pinned:
            if ids == cached.ids[: len(ids)]:
                del self._cached[ids]
        self._cached[cached.ids] = cached
        if pinned:
            self._pinned.add(cached.ids)
        while self.nbytes > self.max_bytes:
            oldest = min(self._cached, key=self._pinned.__contains__)
            del self._cached[oldest]
            self._pinned.discard(oldest)


class _KVLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed here
    """One layer's storage, [sequences, heads, capacity, dim]; ``length`` columns are filled."""

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self.window = window
        self.is_sliding = window is not None
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys = key_states[:, :, :0]
        self.values = value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append; return what the new tokens may attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            room = (0, 0, 0, end + _GROWTH - start)
            self.keys = pad(self.keys[:, :, :start], room)
            self.values = pad(self.values[:, :, :start], room)
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.length = end
        visible = slice(self._first_visible(start), end)
        return self.keys[:, :, visible], self.values[:, :, visible]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        offset = self._first_visible(self.length)
        return self.length + query_length - offset, offset

    def get_seq_length(self) -> int:
        return self.length

    def _first_visible(self, start: int) -> int:
        return 0 if self.window is None else max(start - self.window + 1, 0)


class KVCache(DynamicCache):  # type: ignore[misc] # as above
    """The KV cache of a batch of sequences, or other state of a single one.

    Attributes:
        length: Columns filled, padding included; whoever feeds the model counts them.
        padding: For each sequence, how many columns pad it on the left.
        is_plain: Whether all layers attend over plain keys and values. Only then can sequences be
            batched and prefixes be reused.
    """

    layers: list[Any]

    def __init__(self, config: Any, padding: Sequence[int] = (0,)) -> None:
        """Create an empty cache for a model's layers."""
        super().__init__(config=config)
        self.length = 0
        self.padding = list(padding)
        plain = (DynamicLayer, DynamicSlidingWindowLayer)
        self.is_plain = bool(self.layers) and all(type(layer) in plain for layer in self.layers)
        if self.is_plain:
            windows = [getattr(layer, "sliding_window", None) for layer in self.layers]
            self.layers = [_KVLayer(window) for window in windows]

    def load(self, prefixes: Sequence[CachedPrefix], lengths: Sequence[int]) -> None:
        """Fill the empty cache: sequence i with the first ``lengths[i]`` tokens of prefix i."""
        self.length = columns = max(lengths)
        for index, layer in enumerate(self.layers):
            for name, side in (("keys", 0), ("values", 1)):
                sample = prefixes[0].layers[index][side]
                _, heads, _, dim = sample.shape
                storage = sample.new_zeros(len(prefixes), heads, columns + _GROWTH, dim)
                for row, (prefix, length) in enumerate(zip(prefixes, lengths, strict=True)):
                    source = prefix.layers[index][side][0, :, :length]
                    storage[row, :, columns - length : columns] = source
                setattr(layer, name, storage)
            layer.length = columns
            layer.is_initialized = True

    def cached_prefix(self, index: int, ids: Sequence[int]) -> CachedPrefix:
        """Copy out the first ``len(ids)`` tokens of a sequence."""
        columns = slice(self.padding[index], self.padding[index] + len(ids))
        layers = (
            tuple(
                side[index : index + 1, :, columns].clone() for side in (layer.keys, layer.values)
            )
            for layer in self.layers
        )
        return CachedPrefix(tuple(ids), tuple(layers))

    def select(self, indices: Sequence[int]) -> None:
        """Keep these sequences only."""
        self.padding = [self.padding[index] for index in indices]
        for layer in self.layers:
            index = torch.tensor(indices, device=layer.keys.device)
            layer.keys = layer.keys.index_select(0, index)
            layer.values = layer.values.index_select(0, index)

    def copy(self, indices: Sequence[int]) -> KVCache:
        """Return a cache of its own with these sequences; one may come several times."""
        copied = copy(self)
        copied.layers = [copy(layer) for layer in self.layers]
        copied.select(indices)
        return copied
