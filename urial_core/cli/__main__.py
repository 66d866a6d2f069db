"""The entry point of ``urial`` and of ``python -m urial_core.cli``."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from urial_core.errors import install_hint

__all__ = ["main"]

_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main() -> None:
    """Set up the environment, run the command line and exit; ``app`` lists the exit codes."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    missing = [name for name in ("typer", "rich", "prompt_toolkit") if find_spec(name) is None]
    if missing:
        sys.exit(f"urial: {', '.join(missing)} not installed: {install_hint('cli')}")
    from urial_core.cli.app import INTERRUPTED, app

    try:
        app(prog_name="urial")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            # Do not wait for a worker thread that may be loading a model.
            os._exit(INTERRUPTED)
        raise


if __name__ == "__main__":
    main()
