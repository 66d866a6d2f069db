"""The entry point of ``urial`` and of ``python -m urial_core.cli``."""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from urial_core.cli.exit_codes import INTERRUPTED
from urial_core.errors import install_hint

__all__ = ["main"]

_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main() -> None:
    """Set up the environment, run the command line and exit; ``exit_codes`` lists the codes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller, as with ``<&-``
            empty = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, empty)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what the encoding cannot express is no error
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    missing = [name for name in ("typer", "rich", "prompt_toolkit") if find_spec(name) is None]
    if missing:
        sys.exit(f"urial: {', '.join(missing)} not installed: {install_hint('cli')}")
    try:
        from urial_core.cli.app import app, errors_in_one_line

        with errors_in_one_line():  # those of ``--help``, too
            app(prog_name="urial")
    except (KeyboardInterrupt, SystemExit) as end:  # Ctrl-C may come during the import
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # Do not wait for a worker thread that may be loading a model.
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
