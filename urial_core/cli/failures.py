"""How the command ends when something goes wrong: one line, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import typer

from urial_core.cli.entry import INTERRUPTED
from urial_core.errors import UrialError

__all__ = ["READER_GONE", "one_line", "told_in_one_line"]

READER_GONE = 141
"""The exit code when nobody reads the output any more (``| head``), as shells have it."""


def one_line(error: BaseException) -> str:
    """Write an error's message as one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def told_in_one_line() -> Generator[None]:
    """Turn the errors a user can cause into one line on stderr and an exit code."""
    try:
        yield
    except UrialError as error:
        typer.echo(f"urial: {one_line(error)}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # What is still buffered has to go somewhere when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(READER_GONE) from None
