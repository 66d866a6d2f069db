"""Stream decoders: small filters on a completion's text, however it is split into pieces.

Each has ``feed(text) -> text`` and ``flush() -> text`` and does no I/O (sans-I/O). They hold text
back only while it may still become part of what they remove, and never retract what they returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from urial_core.prompts.prompt_format import PromptFormat

__all__ = ["EchoDecoder", "HeaderDecoder", "StopDecoder", "WhitespaceTrimmer"]


class EchoDecoder:
    """Removes one exact leading copy of the prompt, which some engines return; nothing else."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._matched = 0
        self._done = not prompt

    def feed(self, text: str) -> str:
        """Take more text; return what is certainly not the echo."""
        if self._done:
            return text
        expected = self._prompt[self._matched : self._matched + len(text)]
        if text.startswith(expected):
            self._matched += len(expected)
            self._done = self._matched == len(self._prompt)
            return text[len(expected) :]
        return self.flush() + text

    def flush(self) -> str:
        """Return what was held back: the start of a copy that never became whole."""
        if self._done:
            return ""
        self._done = True
        return self._prompt[: self._matched]


class StopDecoder:
    """Passes text on up to the first stop sequence, which is left out.

    Of several, the one that is complete first ends the text.

    Attributes:
        matched: The stop sequence that ended the text, or None.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.matched: str | None = None
        self._stop = tuple(stop)
        self._longest = max(map(len, stop), default=0)
        self._held = ""

    def feed(self, text: str) -> str:
        """Take more text; return what certainly precedes any stop sequence."""
        if self.matched is not None or not self._stop:
            return "" if self._stop else text
        data, self._held = self._held + text, ""
        found = [
            (data.find(stop) + len(stop), -len(stop), stop) for stop in self._stop if stop in data
        ]
        if found:
            end, _, self.matched = min(found)
            return data[: end - len(self.matched)]
        for size in range(min(self._longest - 1, len(data)), 0, -1):
            if any(stop.startswith(data[-size:]) for stop in self._stop if len(stop) > size):
                self._held = data[-size:]
                return data[:-size]
        return data

    def flush(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return "" if self.matched is not None else held


class WhitespaceTrimmer:
    """Drops whitespace before the first and after the last other character."""

    def __init__(self, *, keep_leading: bool = False) -> None:
        self._started = keep_leading
        self._held = list[str]()

    def feed(self, text: str) -> str:
        """Take more text; return it without whitespace that may turn out to be the last."""
        if not self._started:
            text = text.lstrip()
            self._started = bool(text)
        body = text.rstrip()
        if not body:
            self._held.append(text)
            return ""
        out = "".join([*self._held, body])
        self._held = [text[len(body) :]]
        return out


class HeaderDecoder:
    """Decodes which turn a completion opens, where the prompt ends before a header.

    A text that begins with the header of neither an answer nor a tool call passes unchanged, as an
    answer's.

    Attributes:
        kind: The kind of turn that is opened; None until it is known.
    """

    def __init__(self, prompt_format: PromptFormat) -> None:
        self.kind: Literal["assistant", "call"] | None = None
        self._format = prompt_format
        self._held = ""
        self._passes = False

    def feed(self, text: str) -> str:
        """Take more of the completion; return what belongs to the text of the opened turn."""
        if self._passes:
            return text
        self._held += text
        return self._decode(last=False)

    def flush(self) -> str:
        """Return what was held back, now that the completion is over."""
        return "" if self._passes else self._decode(last=True)

    def _decode(self, *, last: bool) -> str:
        start = self._held.lstrip()
        for kind in ("assistant", "call"):
            header = self._format.header(kind)
            if start.startswith(header):
                self.kind = kind
                return self._pass(self._after_fence(start[len(header) :], last=last))
            if header.startswith(start) and not last:
                return ""
        self.kind = "assistant"
        return self._pass(self._held)

    def _pass(self, rest: str | None) -> str:
        self._passes = rest is not None
        return rest or ""

    def _after_fence(self, rest: str, *, last: bool) -> str | None:
        """Return what follows the header's line and its fence; None while that is undecided."""
        line, found, below = rest.partition("\n")
        if line.strip():
            return rest
        if not found:
            return rest if last else None
        fence = self._format.fence
        if not fence or (not below.startswith(fence) and (last or not fence.startswith(below))):
            return below
        _, found, text = below.partition("\n")
        return text if found or last else None
