"""The list of prompts, for people and for programs."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from urial_core.prompts.loading import load_prompt, preset_names

__all__ = ["prompt_lines", "prompt_table"]


def prompt_lines() -> list[str]:
    """One line for each preset: name, language, number of examples, description; tabs between."""
    prompts = [load_prompt(name) for name in preset_names()]
    return [f"{p.name}\t{p.language}\t{len(p.examples)}\t{p.description}" for p in prompts]


def prompt_table(current: str | None = None) -> Table:
    """The presets as a table.

    Args:
        current: The name of the prompt in use, to be marked. Default: none is.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("Prompt", "Language"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Examples", justify="right", no_wrap=True)
    table.add_column("Description")
    for name in preset_names():
        prompt = load_prompt(name)
        table.add_row(
            f"[bold]{escape(name)}[/]" + (" [green]in use[/]" if name == current else ""),
            prompt.language,
            str(len(prompt.examples)),
            escape(prompt.description),
        )
    return table
