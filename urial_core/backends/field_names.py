"""What the frameworks' LLM classes call the parameters of generation."""

from __future__ import annotations

from collections.abc import Container

__all__ = ["likely_fields"]

_LIKELY = {
    "max_tokens": ("max_tokens", "max_new_tokens", "num_predict", "n_predict", "max_output_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "top_k": ("top_k",),
    "repetition_penalty": ("repetition_penalty", "repeat_penalty"),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
    "seed": ("seed", "random_seed"),
}


def likely_fields(present: Container[str]) -> dict[str, str]:
    """This project's parameter names and, of an unknown class's fields, the ones for them."""
    return {
        ours: next(name for name in theirs if name in present)
        for ours, theirs in _LIKELY.items()
        if any(name in present for name in theirs)
    }
