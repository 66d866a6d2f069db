"""Describe where a model comes from, and what is known of it without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urial_core.errors import UnsupportedModelError

__all__ = ["Source", "context_window_of"]

_WINDOW_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


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

    @classmethod
    def of(cls, model: Any) -> Source:
        """Describe a loaded model.

        Raises:
            UnsupportedModelError: The object is not a causal language model of transformers.
        """
        name, config = type(model).__name__, getattr(model, "config", None)
        if config is None or not callable(getattr(model, "forward", None)):
            raise UnsupportedModelError(
                f"{name} is not a transformers model: pass a model id, or what "
                "AutoModelForCausalLM.from_pretrained returns."
            )
        if getattr(config, "is_encoder_decoder", False):
            raise UnsupportedModelError(
                f"{name} is an encoder-decoder model, and URIAL needs one that continues text: "
                "load one with AutoModelForCausalLM."
            )
        quantization = getattr(config, "quantization_config", None)
        model_id = getattr(model, "name_or_path", "") or name
        return cls(model_id, dtype=str(model.dtype), quantization_config=quantization)

    @property
    def context_window(self) -> int | None:
        """The window that a local folder's ``config.json`` declares; None without such a file."""
        try:
            config = json.loads(
                (Path(self.model_id).expanduser() / "config.json").read_text("utf-8")
            )
        except (OSError, ValueError):
            return None
        return context_window_of({**config, **(config.get("text_config") or {})})


def context_window_of(config: Mapping[str, Any]) -> int | None:
    """Return the context window that a text model's configuration declares, in tokens."""
    found = (config.get(key) for key in _WINDOW_KEYS)
    return next((window for window in found if isinstance(window, int) and window > 0), None)
