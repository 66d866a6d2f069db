"""Render text for the terminal: streamed Markdown, control characters, errors and presets."""

from __future__ import annotations

from time import monotonic
from typing import Self

from markdown_it import MarkdownIt
from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.markup import escape
from rich.segment import Segment, SegmentLines
from rich.spinner import Spinner
from rich.table import Column, Table

from urial_core.prompts.loading import load_prompt, preset_names

__all__ = ["MarkdownStream", "one_line", "preset_list", "preset_table", "visible"]

_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
}

_LEAST_INTERVAL = 0.08
"""Least seconds between two drawings."""
_INTERVAL_FACTOR = 5
"""How many times longer than a drawing the interval after it is, so that drawing costs little."""
_RESERVED_LINES = 4
"""Lines of the screen left to what is above and below the text."""


def visible(text: str) -> str:
    """Replace control characters, which a terminal would obey, by pictures of them.

    Newlines and tabs stay.
    """
    return text.translate(_PICTURES)


def one_line(error: BaseException) -> str:
    """Return an error's message as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def preset_list() -> str:
    """Return one line per preset: name, language, number of examples, description; tabs between."""
    presets = map(load_prompt, preset_names())
    lines = [f"{p.name}\t{p.language}\t{len(p.examples)}\t{p.description}" for p in presets]
    return "\n".join(lines)


def preset_table(current: str | None = None) -> Table:
    """Return the presets as a table.

    Args:
        current: The name of the prompt in use, which is marked. Default: none.
    """
    # Two columns: more of them leave no room for the last one in a narrow terminal.
    columns = (Column("Prompt", no_wrap=True), Column("Language, examples, use", overflow="fold"))
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for prompt in map(load_prompt, preset_names()):
        mark = "[green]in use[/] · " if prompt.name == current else ""
        about = f"{prompt.language}, {len(prompt.examples)} · {prompt.description}"
        table.add_row(f"[bold]{escape(prompt.name)}[/]", mark + escape(about))
    return table


_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
"""Reads HTML tags as text: they are part of an answer, and a terminal cannot render them."""


class _AnswerMarkdown(Markdown):
    """Markdown that shows all of an answer's text: HTML tags, and line breaks where they are."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        self.parsed = _MARKDOWN.parse(text)
        for block in self.parsed:
            for token in block.children or ():
                if token.type == "softbreak":
                    token.type = "hardbreak"


class MarkdownStream:
    """Draw Markdown text while it is streamed; a context manager.

    Only the last screenful is redrawn. Lines above it are printed once, so that the terminal's own
    scrolling keeps each of them once.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._printed = 0
        self._next_drawing = 0.0
        self._live = Live(
            Spinner("dots", style="dim"), console=console, refresh_per_second=10, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()
        self._print(self._lines())

    def add(self, text: str) -> None:
        """Append text, and draw if the last drawing is long enough ago."""
        self._text += visible(text)
        started = monotonic()
        if started >= self._next_drawing:
            self._draw()
            now = monotonic()
            self._next_drawing = now + max(_LEAST_INTERVAL, (now - started) * _INTERVAL_FACTOR)

    def _draw(self) -> None:
        lines = self._lines()
        on_screen = max(self._console.height - _RESERVED_LINES, 1)
        self._print(lines[:-on_screen])
        self._live.update(SegmentLines(lines[self._printed :], new_lines=True), refresh=True)

    def _print(self, lines: list[list[Segment]]) -> None:
        if len(lines) > self._printed:
            self._console.print(SegmentLines(lines[self._printed :], new_lines=True), end="")
            self._printed = len(lines)

    def _lines(self) -> list[list[Segment]]:
        return self._console.render_lines(_AnswerMarkdown(self._text), pad=False)
