"""The application: its commands, and how it reports errors."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from urial_core import __version__
from urial_core.cli.chat_command import chat
from urial_core.cli.compare_command import compare
from urial_core.cli.exit_codes import INTERRUPTED, OUTPUT_CLOSED
from urial_core.cli.fit_command import fit
from urial_core.cli.prompt_commands import diff_prompts, lint_prompt, new_prompt, show_prompt
from urial_core.cli.rendering import one_line, preset_list, preset_table
from urial_core.cli.shift_command import shift
from urial_core.cli.template_command import template
from urial_core.errors import UrialError
from urial_core.prompts.original_file import PromptWarning

__all__ = ["app", "errors_in_one_line"]

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
def errors_in_one_line() -> Generator[None]:
    """Turn the errors that a user can cause into one line on stderr and an exit code.

    A warning about a prompt file is one line, too, without the place in the code.
    """
    show = warnings.showwarning

    def show_in_one_line(
        message: Warning | str, category: type[Warning], *place: Any, **options: Any
    ) -> None:
        if isinstance(message, PromptWarning):
            typer.echo(f"urial: {one_line(message)}", err=True)
        else:
            show(message, category, *place, **options)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_in_one_line
            yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _end_output()
        sys.exit(OUTPUT_CLOSED)
    except (UrialError, OSError) as error:  # an OSError is stdout's, such as a full disk
        _end_output()
        typer.echo(f"urial: {one_line(error)}", err=True)
        sys.exit(1)


def _end_output() -> None:
    """Flush stdout; have what it does not take go nowhere when the interpreter flushes at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


for _command in (prompts, chat, template, compare, shift, fit):
    app.command()(errors_in_one_line()(_command))

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
    prompt_app.command(_name)(errors_in_one_line()(_prompt_command))
app.add_typer(prompt_app)
