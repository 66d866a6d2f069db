"""Which weights a model computes with, so that what others computed is not reused."""

from __future__ import annotations

from typing import Any

__all__ = ["weights_of"]

_ADAPTERS = ("_active_adapter", "_disable_adapters", "merged_adapters", "scaling")
"""Attributes of a layer of peft's that decide what it adds to the model's own."""


def weights_of(model: Any) -> int:
    """Return a number that changes with a model's weights and adapters.

    It takes half a millisecond for some hundred parameters. It counts the changes that torch
    counts: those in place, and new parameters. It reads no weight, so it does not see what is
    written through ``parameter.data``, nor into tensors of inference mode.
    """
    found, waiting = list[object](), [model]
    while waiting:  # Module.parameters() takes four times as long
        own = vars(waiting.pop())
        waiting += filter(None, own.get("_modules", {}).values())
        for name, parameter in own.get("_parameters", {}).items():
            if parameter is None or parameter.is_meta:  # offloaded: made anew for each pass
                found.append(name)
                continue
            version = None if parameter.is_inference() else parameter._version  # noqa: SLF001
            found.append((id(parameter), version))
        if "merged_adapters" in own:
            found.append(repr([own.get(name) for name in _ADAPTERS]))
    return hash(tuple(found))
