"""Source: where a model comes from, and how it is to be loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """Where a model comes from, and how it is to be loaded.

    Attributes:
        model_id: A hub id, a local folder in transformers' format, or a ``.gguf`` file.
        dtype: "auto" for the machine's fastest, or a floating-point dtype or its name.
        device_map: As in ``from_pretrained``; None puts the model on the best device.
        quantization_config: As in ``from_pretrained``.
        attn_implementation: As in ``from_pretrained``.
        revision: A hub revision.
        token: A hub token; never shown.
        trust_remote_code: Whether code from the model's repository may run.
        model_kwargs: Anything else for ``from_pretrained``.
    """

    model_id: str
    dtype: Any = "auto"
    device_map: Any = None
    quantization_config: Any = None
    attn_implementation: str | None = None
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    trust_remote_code: bool = False
    model_kwargs: dict[str, Any] = field(default_factory=dict)
