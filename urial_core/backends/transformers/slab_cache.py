"""Keys and values of a batch, written in place.

transformers' ``DynamicCache`` copies everything it holds for every token and, for sliding-window
layers, forgets what lies before the window. This cache appends in place and keeps all, so that any
beginning of it can be reused. Rows are aligned at their right ends: shorter rows are padded on the
left, which leaves the distances that attention windows count as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

__all__ = ["CachedPrefix", "KVCache", "supports_kv_cache"]

_GROWTH = 256
"""Room is added for this many tokens at a time."""


@dataclass(frozen=True)
class CachedPrefix:
    """Keys and values of a token sequence: per layer, two tensors [1, heads, tokens, dim]."""

    ids: tuple[int, ...]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


def supports_kv_cache(config: Any) -> bool:
    """Whether all of a model's layers attend over plain keys and values."""
    layers = DynamicCache(config=config).layers
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    return bool(layers) and all(type(layer) in plain for layer in layers)


class _KVLayer(CacheLayerMixin):  # type: ignore[misc] # transformers is not typed here
    """One layer's storage, [rows, heads, capacity, dim], of which ``length`` columns are filled."""

    is_croppable = True

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
            self.keys = _grown(self.keys, start, end + _GROWTH)
            self.values = _grown(self.values, start, end + _GROWTH)
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

    def get_max_length(self) -> int:
        return -1 if self.window is None else self.window

    def _first_visible(self, start: int) -> int:
        return 0 if self.window is None else max(start - self.window + 1, 0)


class KVCache(Cache):  # type: ignore[misc] # as above
    """A cache for a fixed set of rows."""

    def __init__(self, config: Any) -> None:
        """Create an empty cache for a model's layers."""
        plain = DynamicCache(config=config).layers
        super().__init__(
            layers=[_KVLayer(getattr(layer, "sliding_window", None)) for layer in plain]
        )

    @property
    def length(self) -> int:
        """Columns filled, padding included."""
        return int(self.layers[0].length)

    def load(self, segments: Sequence[CachedPrefix], lengths: Sequence[int]) -> None:
        """Fill the empty cache: row i with the first ``lengths[i]`` tokens of segment i."""
        columns = max(lengths)
        for index, layer in enumerate(self.layers):
            for name, side in (("keys", 0), ("values", 1)):
                sample = segments[0].layers[index][side]
                _, heads, _, dim = sample.shape
                storage = sample.new_zeros(len(segments), heads, columns + _GROWTH, dim)
                for row, (segment, length) in enumerate(zip(segments, lengths, strict=True)):
                    source = segment.layers[index][side][0, :, :length]
                    storage[row, :, columns - length : columns] = source
                setattr(layer, name, storage)
            layer.length = columns
            layer.is_initialized = True

    def segment(self, row: int, ids: Sequence[int], padding: int = 0) -> CachedPrefix:
        """Copy out a row's first ``len(ids)`` tokens, which stand behind its padding."""
        columns = slice(padding, padding + len(ids))
        layers = (
            (
                layer.keys[row : row + 1, :, columns].clone(),
                layer.values[row : row + 1, :, columns].clone(),
            )
            for layer in self.layers
        )
        return CachedPrefix(tuple(ids), tuple(layers))

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows only."""
        for layer in self.layers:
            index = torch.tensor(rows, device=layer.keys.device)
            layer.keys = layer.keys.index_select(0, index)
            layer.values = layer.values.index_select(0, index)

    def copy(self, rows: Sequence[int]) -> KVCache:
        """Make a cache of its own out of these rows; a row may come several times."""
        copied = copy(self)
        copied.layers = [copy(layer) for layer in self.layers]
        copied.keep(rows)
        return copied


def _grown(storage: torch.Tensor, filled: int, capacity: int) -> torch.Tensor:
    rows, heads, _, dim = storage.shape
    larger = storage.new_zeros(rows, heads, capacity, dim)
    larger[:, :, :filled] = storage[:, :, :filled]
    return larger
