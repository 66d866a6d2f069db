"""Where the command begins: its environment, then the application."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

_ENVIRONMENT = {
    # libgomp's threads spin while they wait; beside one other busy process, that slows decoding
    # twentyfold. Read when torch is imported, hence set here.
    "GOMP_SPINCOUNT": "1000",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main() -> None:
    """Run the command line and exit: 0 done, 1 an error, 2 wrong usage, 130 stopped by Ctrl-C."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    missing = [name for name in ("typer", "rich", "prompt_toolkit") if find_spec(name) is None]
    if missing:
        sys.exit(f"urial: {', '.join(missing)} not installed: pip install 'urial-chat[cli]'")
    from urial_core.cli.app import app

    try:
        app(prog_name="urial")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave_at_once()
        raise


def _leave_at_once() -> None:
    """End the process without waiting for a worker thread that may be loading a model."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(INTERRUPTED)
