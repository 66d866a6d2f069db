"""The application: its commands, its exit codes and how it reports errors.

Exit codes: 0 success, 1 an error (reported in one line on stderr), 2 invalid usage,
``INTERRUPTED`` and ``OUTPUT_CLOSED``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from urial_core import __version__
from urial_core.cli.chat_command import chat
from urial_core.cli.compare_command import compare
from urial_core.cli.fit_command import fit
from urial_core.cli.prompt_commands import diff_prompts, lint_prompt, new_prompt, show_prompt
from urial_core.cli.rendering import one_line, preset_list, preset_table
from urial_core.cli.shift_command import shift
from urial_core.cli.template_command import template
from urial_core.errors import UrialError

__all__ = ["INTERRUPTED", "OUTPUT_CLOSED", "app"]

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells."""

OUTPUT_CLOSED = 141
"""The exit code when the reader of stdout is gone (``| head``), as in shells."""

app = typer.Typer(
    name="urial",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:  # noqa: FBT001 - typer passes it by position
    if requested:
        typer.echo(f"urial {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Chat with a base language model that was never tuned to chat (URIAL)."""


def prompts() -> None:
    """List the presets, the prompts that come with urial; tab-separated when piped."""
    console = Console()
    if console.is_terminal:
        console.print(preset_table())
    else:
        typer.echo(preset_list())


@contextmanager
def _errors_in_one_line() -> Generator[None]:
    """Turn the errors that a user can cause into one line on stderr and an exit code."""
    try:
        yield
    except UrialError as error:
        typer.echo(f"urial: {one_line(error)}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The interpreter flushes what is still buffered at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OUTPUT_CLOSED) from None


for _command in (prompts, chat, template, compare, shift, fit):
    app.command()(_errors_in_one_line()(_command))

prompt_app = typer.Typer(
    name="prompt", no_args_is_help=True, help="Make, check, print and compare prompts."
)
_prompt_commands: dict[str, Callable[..., None]] = {
    "new": new_prompt,
    "lint": lint_prompt,
    "show": show_prompt,
    "diff": diff_prompts,
}
for _name, _prompt_command in _prompt_commands.items():
    prompt_app.command(_name)(_errors_in_one_line()(_prompt_command))
app.add_typer(prompt_app)
