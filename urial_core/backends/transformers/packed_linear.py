"""Speed up the linear layers of a model on a CPU by packing their weights for oneDNN.

torch multiplies one row by a float32 matrix in one thread on many processors, and a few rows slower
than one. With weights in oneDNN's own layout (what ``torch.compile`` does with frozen weights) one
row takes the time in which the weights are read, and up to 16 rows little more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["are_packed", "bfloat16_is_fast", "pack_linear_layers"]

_ROWS = 16
"""Rows for which oneDNN chooses the layout; measured to be as good as any for fewer."""
_TRIAL_SHAPE = (16384, 1024)
"""A matrix that no processor's cache holds."""
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
"""Largest difference from the plain result, relative to its largest value."""


def pack_linear_layers(model: Any) -> bool:
    """Pack the weights of a model's linear layers, if that gives the same results, faster.

    Each packed weight replaces the plain one, except where that is shared with the embedding: then
    both are kept. The model cannot be saved or moved to another device afterwards.

    Returns:
        Whether they are packed: on a CPU, in float32 or bfloat16, where a trial at 1 and 4 rows
        takes less time, and equals the plain result.
    """
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    if model.device.type != "cpu" or not layers or not _packing_helps(model.dtype):
        return False
    for layer in layers:
        if layer.weight.dtype == model.dtype:
            packed = _packed(layer.weight.detach())
            layer.forward = partial(_multiply, packed, layer.bias)  # type: ignore[method-assign]
            layer.weight = nn.Parameter(packed, requires_grad=False)
    return True


def are_packed(model: Any) -> bool:
    """Return whether a model's linear layers are packed."""
    return any(type(m) is nn.Linear and m.weight.is_mkldnn for m in model.modules())


@lru_cache
def bfloat16_is_fast() -> bool:
    """Return whether this machine's CPU multiplies one row in bfloat16 about as fast as in float32.

    Not every processor that computes in bfloat16 does, so it is measured: once. Since it halves the
    memory, float32 has to be clearly faster to be preferred.
    """
    least_gain = 1.25
    float32_time = _time(torch.float32, 1, packed=_packing_helps(torch.float32))
    bfloat16_time = _time(torch.bfloat16, 1, packed=_packing_helps(torch.bfloat16))
    return bfloat16_time < least_gain * float32_time


@lru_cache
def _packing_helps(dtype: torch.dtype) -> bool:
    """Return whether packed weights give the right result, and not later than plain ones do."""
    if dtype not in _TOLERANCE:
        return False
    weight, rows = _trial(dtype, 4)
    plain = linear(rows, weight)
    try:
        result = _multiply(_packed(weight), None, rows)
    except (AttributeError, RuntimeError):  # not in this build of torch, or on this processor
        return False
    if (result - plain).abs().max() > _TOLERANCE[dtype] * plain.abs().max():
        return False
    packed_time = sum(_time(dtype, count) for count in (1, 4))
    plain_time = sum(_time(dtype, count, packed=False) for count in (1, 4))
    return packed_time < plain_time


def _trial(dtype: torch.dtype, rows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(_TRIAL_SHAPE, generator=generator).to(dtype)
    return weight, torch.randn(rows, _TRIAL_SHAPE[1], generator=generator).to(dtype)


@lru_cache
def _time(dtype: torch.dtype, rows: int, *, packed: bool = True) -> float:
    """Return the seconds of a multiplication, the shortest of a few: others share the machine."""
    weight, vectors = _trial(dtype, rows)
    multiply: Callable[[], Tensor] = (
        partial(_multiply, _packed(weight), None, vectors)
        if packed
        else partial(linear, vectors, weight)
    )
    times = list[float]()
    with torch.inference_mode():
        multiply()
        for _ in range(5):
            start = time.perf_counter()
            multiply()
            times.append(time.perf_counter() - start)
    return min(times)


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)  # noqa: SLF001
    return packed


def _multiply(weight: Tensor, bias: Tensor | None, rows: Tensor) -> Tensor:
    """Return ``rows`` times a packed weight."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
        rows, weight, bias, "none", [], ""
    )
    return product
