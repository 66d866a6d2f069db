"""The application: its commands and what they share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from urial_core.cli.chat_command import chat
from urial_core.cli.failures import told_in_one_line
from urial_core.cli.prompt_list import prompt_lines, prompt_table
from urial_core.cli.template_command import template
from urial_core.version import __version__

__all__ = ["app"]

app = typer.Typer(
    name="urial",
    help="Chat with a base language model that was never tuned to chat (URIAL).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"urial {__version__}")
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Chat with a base language model that was never tuned to chat (URIAL)."""


@app.command()
def prompts() -> None:
    """List the prompts that come with urial; tab-separated when piped."""
    with told_in_one_line():
        console = Console()
        if console.is_terminal:
            console.print(prompt_table())
        else:
            for line in prompt_lines():
                typer.echo(line)


app.command()(chat)
app.command()(template)
