"""Markdown that grows on the screen, however long it gets."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment, SegmentLines
from rich.spinner import Spinner

from urial_core.cli.control_characters import visible

__all__ = ["GrowingMarkdown"]

_PAUSE = 0.08
"""Least seconds between two drawings."""
_SHARE = 5
"""How much longer than a drawing the pause after it is, so that drawing never costs much."""
_SPARE = 4
"""Lines of the screen left to what stands above and below."""


class GrowingMarkdown:
    """Shows Markdown text while it grows; a context manager.

    Only the last screenful is drawn again and again. Lines above it are printed once and for all,
    so the terminal's own scrolling keeps them, each one once.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._printed = 0
        self._due = 0.0
        self._live = Live(
            Spinner("dots", style="dim"), console=console, refresh_per_second=10, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        self._print(self._lines())

    def add(self, text: str) -> None:
        """Add text at the end."""
        self._text += visible(text)
        if monotonic() >= self._due:
            started = monotonic()
            self._draw()
            now = monotonic()
            self._due = now + max(_PAUSE, (now - started) * _SHARE)

    def _draw(self) -> None:
        lines = self._lines()
        window = max(self._console.height - _SPARE, 1)
        self._print(lines[:-window])
        self._live.update(SegmentLines(lines[self._printed :], new_lines=True), refresh=True)

    def _print(self, lines: list[list[Segment]]) -> None:
        if len(lines) > self._printed:
            self._console.print(SegmentLines(lines[self._printed :], new_lines=True), end="")
            self._printed = len(lines)

    def _lines(self) -> list[list[Segment]]:
        return self._console.render_lines(Markdown(self._text), pad=False)
