"""A completion model with what its owner had set on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from urial_core.completion import CompletionModel

__all__ = ["WrappedModel"]


@dataclass(frozen=True, slots=True)
class WrappedModel:
    """A completion model, and the parameters its owner had set on it.

    Attributes:
        model: The model.
        parameters: Names and values of generation parameters; what the chat model itself is given
            goes before them.
    """

    model: CompletionModel
    parameters: Mapping[str, Any] = field(default_factory=dict)
