"""Read which section a completion opens, where the page ends before a header."""

from __future__ import annotations

from typing import Literal

from urial_core.prompts.prompt_format import PromptFormat

__all__ = ["HeaderDecoder"]


class HeaderDecoder:
    """Reads the header of an answer or of a tool call, and what opens its section.

    Nothing is lost: a text that begins with neither header passes unchanged, as an answer's.

    Attributes:
        kind: What is opened; None until it is known.
    """

    def __init__(self, prompt_format: PromptFormat) -> None:
        self.kind: Literal["assistant", "call"] | None = None
        self._frame = prompt_format
        self._held = ""
        self._passes = False

    def feed(self, text: str) -> str:
        """Take more of the completion; return what stands in the section opened."""
        if self._passes:
            return text
        self._held += text
        return self._read(last=False)

    def flush(self) -> str:
        """The completion is over: return what was held back."""
        return "" if self._passes else self._read(last=True)

    def _read(self, *, last: bool) -> str:
        start = self._held.lstrip()
        for kind in ("assistant", "call"):
            header = self._frame.header(kind)
            if start.startswith(header):
                self.kind = kind
                return self._pass(self._behind_opening(start[len(header) :], last=last))
            if header.startswith(start) and not last:
                return ""
        self.kind = "assistant"
        return self._pass(self._held)

    def _pass(self, rest: str | None) -> str:
        self._passes = rest is not None
        return rest or ""

    def _behind_opening(self, rest: str, *, last: bool) -> str | None:
        """What follows the header's line and its fence; None while that is not decided."""
        line, found, below = rest.partition("\n")
        if line.strip():
            return rest
        if not found:
            return rest if last else None
        fence = self._frame.fence
        if not fence or (not below.startswith(fence) and (last or not fence.startswith(below))):
            return below
        _, found, text = below.partition("\n")
        return text if found or last else None
