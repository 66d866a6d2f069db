"""Precision: the fastest number format a machine computes in without losing quality."""

from __future__ import annotations

import torch

from urial_core.errors import ParameterError

__all__ = ["default_device", "resolve_dtype"]


def default_device() -> torch.device:
    """The best device of this machine."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Turn "auto" or a name into a dtype.

    "auto" is bfloat16 where the device computes in it natively, which halves the memory read for
    each token; else float16 on a GPU and float32 on a CPU.

    Raises:
        ParameterError: The name is not one of a floating-point dtype.
    """
    if dtype == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
        if device.type == "mps":
            return torch.bfloat16
        return torch.bfloat16 if _cpu_computes_bfloat16() else torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ParameterError(f"dtype is {dtype!r}: use 'auto', 'float32', 'bfloat16' or 'float16'.")
    return found


def _cpu_computes_bfloat16() -> bool:
    # torch offers these tests under private names only, and not on every platform.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)
