"""The KV cache of the sequences that are being read or decoded.

transformers' ``DynamicCache`` copies everything it holds for every token and, for sliding-window
layers, forgets what lies before the window. ``KVCache`` appends in place and keeps all, so that any
prefix of a sequence can be cached. Sequences are aligned at their right ends: shorter ones are
padded on the left, which leaves the distances that attention windows count as they are. A sequence
can join or leave at any time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from urial_core.backends.transformers.prefix_tree import KeysAndValues, Match

__all__ = ["KVCache"]

_GROWTH = 256
"""Storage grows by this many tokens at a time, and unused columns are dropped in such steps."""


class _KVLayer(DynamicLayer):  # type: ignore[misc] # transformers is not typed here
    """One layer's storage, of which ``rows`` sequences and ``length`` columns are in use.

    ``keys`` and ``values`` are [sequences, heads, tokens, dim], both with spare room. While
    ``static_columns`` is set, as in a CUDA graph, the next tokens go to the columns that it holds,
    ``length`` stays as it is, and all columns are returned: which may be attended to is the mask's
    affair.
    """

    def __init__(self, window: int | None, rows: int) -> None:
        super().__init__()
        self.window = window
        self.is_sliding = window is not None
        self.rows = rows
        self.length = 0
        self.static_columns: torch.Tensor | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys = key_states[:, :, :0]
        self.values = value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append; return what the new tokens may attend to."""
        if self.static_columns is not None:
            keys, values = self.keys[: self.rows], self.values[: self.rows]
            keys.index_copy_(2, self.static_columns, key_states)
            values.index_copy_(2, self.static_columns, value_states)
            return keys, values
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[-2]
        if end > self.keys.shape[-2]:
            self.reserve(self.rows, end)
        self.keys[: self.rows, :, start:end] = key_states
        self.values[: self.rows, :, start:end] = value_states
        self.length = end
        visible = slice(self._first_visible(start), end)
        return self.keys[: self.rows, :, visible], self.values[: self.rows, :, visible]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        offset = self._first_visible(self.length)
        return self.length + query_length - offset, offset

    def get_seq_length(self) -> int:
        return self.length

    def _first_visible(self, start: int) -> int:
        return 0 if self.window is None else max(start - self.window + 1, 0)

    def reserve(self, rows: int, columns: int) -> None:
        """Move to larger storage, if there is no room for so many sequences and columns.

        The number of sequences that it has room for is a power of two.
        """
        old_rows, _, old_columns, _ = self.keys.shape
        if rows <= old_rows and columns <= old_columns:
            return
        rows = 1 << (max(rows, old_rows) - 1).bit_length()
        columns = columns + _GROWTH if columns > old_columns else old_columns
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(rows, old.shape[1], columns, old.shape[3])
            new[: self.rows, :, : self.length] = old[: self.rows, :, : self.length]
            setattr(self, name, new)

    def shift(self, columns: int) -> None:
        """Move all columns to the right, or to the left where the number is negative."""
        for storage in (self.keys, self.values):
            used = storage[: self.rows, :, max(-columns, 0) : self.length].clone()
            storage[: self.rows, :, max(columns, 0) : self.length + columns] = used
        self.length += columns

    def copy(self, indices: Sequence[int]) -> _KVLayer:
        """Return a layer of its own with these sequences."""
        copied = copy(self)
        index = torch.tensor(indices, device=self.keys.device)
        copied.keys, copied.values = (
            storage[:, :, : self.length].index_select(0, index)
            for storage in (self.keys, self.values)
        )
        copied.rows = len(indices)
        return copied


class KVCache(DynamicCache):  # type: ignore[misc] # as above
    """The KV cache of a batch of sequences, or other state of a single one.

    Attributes:
        length: Columns filled, padding included; whoever feeds the model counts them.
        padding: For each sequence, how many columns pad it on the left.
        shared_tokens: How many tokens all sequences begin with, as far as is known.
        is_plain: Whether all layers attend over plain keys and values. Only then can sequences be
            batched and prefixes be reused.
    """

    layers: list[Any]

    def __init__(self, config: Any, padding: Sequence[int] = (0,)) -> None:
        """Create an empty cache for a model's layers."""
        super().__init__(config=config)
        self.length = 0
        self.padding = list(padding)
        self.shared_tokens = 0
        plain = (DynamicLayer, DynamicSlidingWindowLayer)
        self.is_plain = bool(self.layers) and all(type(layer) in plain for layer in self.layers)
        if self.is_plain:
            windows = [getattr(layer, "sliding_window", None) for layer in self.layers]
            self.layers = [_KVLayer(window, len(self.padding)) for window in windows]

    def load(self, prefixes: Sequence[Match], lengths: Sequence[int]) -> None:
        """Fill the empty cache: sequence i with the first ``lengths[i]`` tokens of prefix i."""
        self.length = columns = max(lengths)
        samples = next(prefix.segments[0] for prefix in prefixes if prefix.segments)
        alike = defaultdict[tuple[object, ...], list[int]](list)  # most share one prompt prefix
        for row, (prefix, length) in enumerate(zip(prefixes, lengths, strict=True)):
            alike[length, *map(id, prefix.segments)].append(row)
        for index, layer in enumerate(self.layers):
            for name, side in (("keys", 0), ("values", 1)):
                sample = samples[index][side]
                heads, _, dim = sample.shape
                storage = sample.new_zeros(len(prefixes), heads, columns + _GROWTH, dim)
                for row, *others in alike.values():
                    at = columns - lengths[row]
                    for segment in prefixes[row].segments:
                        part = segment[index][side][:, : columns - at]
                        storage[row, :, at : at + part.shape[1]] = part
                        at += part.shape[1]
                    if others:
                        storage[others] = storage[row].clone()
                setattr(layer, name, storage)
            layer.length = columns
            layer.is_initialized = True

    def keys_and_values(self, index: int, count: int) -> KeysAndValues:
        """Return those of a sequence's first ``count`` tokens, without copying them."""
        columns = slice(self.padding[index], self.padding[index] + count)
        return [
            (layer.keys[index, :, columns], layer.values[index, :, columns])
            for layer in self.layers
        ]

    @property
    def nbytes(self) -> int:
        """The memory of its storage, in bytes."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)

    def tokens(self, index: int) -> int:
        """Return how many tokens of a sequence the cache holds."""
        return self.length - self.padding[index]

    def reserve(self, rows: int, columns: int) -> None:
        """Have room for so many sequences and columns."""
        for layer in self.layers:
            layer.reserve(rows, columns)

    def join(self, other: KVCache) -> None:
        """Add the sequences of another cache, after those that are here, and empty that one.

        It is emptied layer by layer, so that memory never holds both as a whole.
        """
        length = max(self.length, other.length)
        rows = len(self.padding) + len(other.padding)
        shift, aside = length - self.length, length - other.length
        for layer in self.layers:
            joining = other.layers.pop(0)
            layer.reserve(rows, length)
            if shift:
                layer.shift(shift)
            for name in ("keys", "values"):
                room = getattr(layer, name)[layer.rows : rows]
                room[:, :, :aside] = 0
                room[:, :, aside:length] = getattr(joining, name)[: joining.rows, :, : other.length]
            layer.rows = rows
        self.padding = [padding + shift for padding in self.padding]
        self.padding += [padding + aside for padding in other.padding]
        self.length = length

    def leave(self, index: int) -> None:
        """Remove a sequence; the last one takes its place. Drop columns that all have as padding.

        Columns are dropped in steps, as they are added.
        """
        last = len(self.padding) - 1
        self.padding[index] = self.padding[last]
        self.padding.pop()
        unused = min(self.padding) // _GROWTH * _GROWTH if self.padding else self.length
        for layer in self.layers:
            if index != last:
                for storage in (layer.keys, layer.values):
                    storage[index, :, : self.length] = storage[last, :, : self.length]
            layer.rows = last
            if unused:
                layer.shift(-unused)
        self.padding = [padding - unused for padding in self.padding]
        self.length -= unused

    def crop(self, columns: int) -> None:
        """Forget the last columns."""
        self.advance(-columns)

    def advance(self, columns: int) -> None:
        """Count columns after the last as filled."""
        self.length += columns
        for layer in self.layers:
            layer.length += columns

    def copy(self, indices: Sequence[int]) -> KVCache:
        """Return a cache of its own with these sequences; one may come several times."""
        copied = copy(self)
        copied.padding = [self.padding[index] for index in indices]
        copied.layers = [layer.copy(indices) for layer in self.layers]
        return copied
