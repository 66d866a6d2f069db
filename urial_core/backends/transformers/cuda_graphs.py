"""Decode with CUDA graphs, since launching kernels takes longer than a small model's own work.

A graph replays the kernels of a forward pass, all launched at once, with the shapes and addresses
that they had when it was captured. So each pass works on the whole storage of the KV cache, writes
at a column that it reads from memory, and masks the rest; the batch is filled up to a power of two.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from urial_core.backends.transformers.forward import Forward
from urial_core.backends.transformers.grouped_attention import takes_boolean_masks
from urial_core.backends.transformers.kv_cache import KVCache

__all__ = ["CudaGraphs", "StaticPass"]

logger = logging.getLogger(__name__)

_DRAFT_TOKENS = 16
"""Tokens of one sequence in a pass for several, which is filled up to as many."""
_LOGITS_TOLERANCE = 3e-2
"""Largest difference from the logits of the plain pass, relative to the largest of them: an error
in a mask or an address gives another text."""
_PROBABILITY_TOLERANCE = 0.1
"""In half precision, how much of the next token's probability may lie elsewhere. It rounds the two
passes differently: it moves logits of Gemma 3 270M by 2 % of the largest, though 0.02 of the
probability."""


class StaticPass:
    """A forward pass whose shapes and addresses are always the same.

    Attributes:
        rows: Sequences in the batch.
        tokens: Tokens of each.
    """

    def __init__(self, forward: Forward, cache: KVCache, rows: int, tokens: int) -> None:
        """Take the model and a KV cache with storage for so many sequences."""
        self.rows = rows
        self.tokens = tokens
        self._forward = forward
        self._cache = cache
        self._storage = _storage(cache)
        device = forward.model.device
        inputs = torch.zeros(rows * tokens + rows + 1, dtype=torch.long)
        self._staged = inputs.pin_memory() if device.type == "cuda" else inputs
        self._inputs = inputs.to(device, copy=True)
        self._ids = self._inputs[: rows * tokens].view(rows, tokens)
        self._padding = self._inputs[rows * tokens : -1]
        self._length = self._inputs[-1:]
        self._offsets = torch.arange(tokens, device=device)
        self._columns = torch.arange(cache.layers[0].keys.shape[2], device=device)

    def is_for(self, cache: KVCache) -> bool:
        """Return whether the pass is for this cache and the storage that it has now."""
        now = _storage(cache)
        return cache is self._cache and all(a is b for a, b in zip(self._storage, now, strict=True))

    def feed(self, tokens: Sequence[Sequence[int]]) -> None:
        """Set the next tokens of the sequences, and where the cache is filled up to."""
        ids = [token for row in tokens for token in [*row, *[0] * (self.tokens - len(row))]]
        ids += [0] * (self.rows * self.tokens - len(ids))
        padding = [*self._cache.padding, *[0] * (self.rows - len(tokens))]
        self._staged.copy_(torch.tensor([*ids, *padding, self._cache.length]))
        self._inputs.copy_(self._staged, non_blocking=True)

    def run(self) -> torch.Tensor:
        """Return the logits after each token, [rows, tokens, vocabulary]; reads no value."""
        columns = self._length + self._offsets
        positions = (columns - self._padding[:, None]).clamp(min=0)
        rows = self._cache.layers[0].rows
        for layer in self._cache.layers:
            layer.rows, layer.static_columns = self.rows, columns
        try:
            mask = self._mask(columns)
            return self._forward.logits(self._cache, self._ids, positions, mask, self.tokens)
        finally:
            for layer in self._cache.layers:
                layer.rows, layer.static_columns = rows, None

    def _mask(self, columns: torch.Tensor) -> Any:
        """Return what the tokens in some columns may attend to: a mask, or one by layer type."""
        places = columns[:, None]
        visible = (self._columns <= places) & (self._columns >= self._padding[:, None, None])
        masks = {
            window: (visible if window is None else visible & (self._columns > places - window))
            for window in {layer.window for layer in self._cache.layers}
        }
        if len(masks) == 1:
            return next(iter(masks.values()))[:, None]
        types = self._forward.layer_types
        windows = (layer.window for layer in self._cache.layers)
        return {kind: masks[window][:, None] for kind, window in zip(types, windows, strict=False)}


_Captured = tuple[StaticPass, torch.cuda.CUDAGraph, torch.Tensor]
"""A pass, its graph, and the logits that each replay writes."""


class CudaGraphs:
    """Forward passes of a batch, as graphs that are captured when their shapes are first needed."""

    def __init__(self, forward: Forward) -> None:
        """Take a model; ``usable`` reports whether it can be captured."""
        self._forward = forward
        self._graphs = dict[tuple[int, int], _Captured]()
        self._checked = set[tuple[int, int]]()
        self._pool: Any = None
        devices = set((getattr(forward.model, "hf_device_map", None) or {}).values())
        on_one_gpu = forward.model.device.type == "cuda" and len(devices) < 2
        self.usable = on_one_gpu and forward.batches and takes_boolean_masks(forward.model)

    @torch.inference_mode()
    def __call__(
        self, cache: KVCache, tokens: Sequence[Sequence[int]], last: int = 1
    ) -> torch.Tensor:
        """Feed the sequences of a batch as the plain forward pass does, with the same result.

        Returns:
            The logits, [batch, last, vocabulary], until the next call.
        """
        rows, count = len(tokens), len(tokens[0])
        shape = (1 << (rows - 1).bit_length(), 1 if count == 1 else _DRAFT_TOKENS)
        if not self.usable or count > shape[1] or (rows > 1 and count > 1):
            return self._forward(cache, tokens, last)
        cache.reserve(shape[0], cache.length + shape[1])
        step, *_ = next(iter(self._graphs.values()), (None,))
        if step is not None and not step.is_for(cache):  # then none of them is
            self._graphs.clear()
            self._pool = None  # it ends with its last graph
        if shape not in self._checked:
            return self._check(cache, tokens, last, shape)
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(StaticPass(self._forward, cache, *shape))
        logits = self._replay(tokens, shape)
        cache.advance(count)
        return logits[:rows, count - last : count]

    def _check(
        self, cache: KVCache, tokens: Sequence[Sequence[int]], last: int, shape: tuple[int, int]
    ) -> torch.Tensor:
        """Feed by the plain pass, and use graphs of this shape from now on if they agree."""
        rows, count = len(tokens), len(tokens[0])
        plain = self._forward(cache, tokens, last)
        cache.crop(count)
        try:
            step = StaticPass(self._forward, cache, *shape)
            step.feed(tokens)
            step.run()  # libraries set themselves up, which cannot be captured
            self._graphs[shape] = self._capture(step)
            replayed = self._replay(tokens, shape)[:rows, count - last : count]
            self._compare(plain, replayed)
            self._checked.add(shape)
        except Exception as error:  # noqa: BLE001 - the plain pass serves all models
            logger.info("%s is decoded without CUDA graphs: %s", type(self._forward.model), error)
            self.usable = False
            self._graphs.clear()
            _end_capture_of_random_numbers(self._forward.model.device)
        cache.advance(count)
        return plain

    def _compare(self, plain: torch.Tensor, replayed: torch.Tensor) -> None:
        """Compare the logits of both passes.

        Raises:
            ArithmeticError: They differ by more than rounding does.
        """
        if self._forward.model.dtype.itemsize < 4:  # half precision
            moved = (replayed.softmax(-1) - plain.softmax(-1)).abs().sum(-1).max() / 2
            if not moved <= _PROBABILITY_TOLERANCE:
                raise ArithmeticError(f"its probabilities differ by {float(moved):.3g}")
            return
        known = plain.isfinite()
        difference = (replayed - plain)[known].abs().max()
        if not difference <= _LOGITS_TOLERANCE * plain[known].abs().max():
            raise ArithmeticError(f"its logits differ by {float(difference):.3g}")

    def _capture(self, step: StaticPass) -> _Captured:
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, self._pool, capture_error_mode="thread_local"):
            logits = step.run()
        return step, graph, logits

    def _replay(self, tokens: Sequence[Sequence[int]], shape: tuple[int, int]) -> torch.Tensor:
        step, graph, logits = self._graphs[shape]
        step.feed(tokens)
        graph.replay()
        return logits


def _end_capture_of_random_numbers(device: torch.device) -> None:
    """Have a GPU's random numbers drawn as before: torch does not, where a capture fails."""
    if device.type == "cuda":
        generator = torch.cuda.default_generators[device.index or 0]
        generator.graphsafe_set_state(generator.clone_state())


def _storage(cache: KVCache) -> list[torch.Tensor]:
    return [storage for layer in cache.layers for storage in (layer.keys, layer.values)]
