"""The context window that a model's configuration declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["config_file_window", "window_of"]

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def window_of(config: Mapping[str, Any]) -> int | None:
    """The positions a text model's configuration declares, in tokens."""
    found = (config.get(name) for name in _NAMES)
    return next((window for window in found if isinstance(window, int) and window > 0), None)


def config_file_window(folder: str) -> int | None:
    """The window that a local folder's ``config.json`` declares; None if there is no such file."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return window_of({**config, **(config.get("text_config") or {})})
