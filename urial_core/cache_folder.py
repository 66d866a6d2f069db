"""The folder of converted models, the demo model and the command line's history."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return ``$URIAL_CACHE``, else ``urial`` in the user's cache folder (``$XDG_CACHE_HOME``)."""
    if own := os.environ.get("URIAL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "urial"
