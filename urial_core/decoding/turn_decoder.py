"""Decode the text of an open turn up to its delimiter."""

from __future__ import annotations

import re

from urial_core.prompts.escaping import begins_delimiter
from urial_core.prompts.prompt_format import LINE_BREAKS, LONGEST_FENCE, PromptFormat

__all__ = ["TurnDecoder"]

_BREAK = re.compile(f"[{LINE_BREAKS}]")
_BLANKS_AFTER = 8
"""Spaces that may follow a header or a bare fence on its line."""
_LONGEST_START = 128
"""Characters of an escaped line that are held back at most to see whether it is one."""


class TurnDecoder:
    r"""Passes a turn's text on and finds its delimiter.

    The delimiter counts only at the start of a line, and is one of

    - a line that holds a header and nothing else;
    - the format's fence, if it has four or more characters (a code block's own has three);
    - a bare fence of three outside any code block, if a header or the end of the text follows;
      otherwise it opens a code block and is text.

    Lines escaped by ``urial_core.prompts.escaping`` are unescaped. Text is held back only while the
    start of a line may still become a delimiter, and what was returned is never retracted.

    Attributes:
        ended: Whether the end was found. Text fed after it is ignored.
    """

    def __init__(self, prompt_format: PromptFormat, written: str = "") -> None:
        """Start at the beginning of a turn, or after what is already ``written`` in it."""
        self.ended = False
        self._frame = prompt_format
        self._held = ""  # the start of a line that may become structure
        self._line_start = True
        self._indented = False
        self._block = 0  # length of the fence of the code block we are in, or 0
        self._opener = 0  # length of the fence whose line we are in and which may open a block
        self._closes = False  # whether the line we are in closes the block if only blanks follow
        self._bare_fence = ""  # a bare fence of three and the blank lines after it
        if written:
            for line in written.splitlines(keepends=True):
                self._take(line)
                if self.ended or self._held:  # the prompt holds it escaped, so it is text
                    self._line_start = line[-1] in LINE_BREAKS
                    self.ended, self._held = False, ""
            self._release_fence()

    def feed(self, text: str) -> str:
        """Take more text; return what is certainly the turn's."""
        return "" if self.ended else self._take(text)

    def flush(self, *, cut: bool = False) -> str:
        """Return what was held back, now that no more text comes.

        Args:
            cut: Whether the text was cut, so that what began like an end was likely to become one
                and is left out. Some engines leave it out themselves, and not in every method.
        """
        if self.ended:
            return ""
        begun = cut and not self._held.startswith("\\")
        rest = self._take("\n")  # the end of the text ends the line
        if self._bare_fence:
            self.ended = True
        if self.ended:
            return rest
        return "" if begun else rest.removesuffix("\n")

    def _take(self, text: str) -> str:
        data, out, at = self._held + text, list[str](), 0
        self._held = ""
        while at < len(data) and not self.ended:
            step = self._start_of_line if self._line_start else self._middle_of_line
            reached = step(data, at, out)
            if reached is None:
                self._held = data[at:]
                break
            at = reached
        return "".join(out)

    def _middle_of_line(self, data: str, at: int, out: list[str]) -> int | None:
        found = _BREAK.search(data, at)
        end = found.end() if found else len(data)
        out.append(data[at:end])
        if self._opener and self._frame.fence[0] == "`" and "`" in data[at:end]:
            self._opener = 0  # inline code, no code block
        if self._closes and data[at:end].strip(LINE_BREAKS + " \t"):
            self._closes = False
        if found:
            self._block = 0 if self._closes else self._opener or self._block
            self._opener, self._closes = 0, False
            self._line_start, self._indented = True, False
        return end

    def _start_of_line(self, data: str, at: int, out: list[str]) -> int | None:
        """Decide what the line is; return how far it is decided, or None to wait for more."""
        if data[at] in " \t" or data[at] in LINE_BREAKS:
            self._pass_blank(data[at], out)
            self._indented = data[at] in " \t"
            return at + 1
        if not self._indented:
            verdict = self._is_header(data, at)
            if verdict is None:
                return None
            if verdict:
                self.ended = True
                return at
        if data[at] == "\\":
            return self._backslashes(data, at, out)
        if data[at] == self._frame.fence[:1]:
            return self._fence_line(data, at, out)
        return self._text(data, at, at, out)

    def _is_header(self, data: str, at: int) -> bool | None:
        """Whether a header stands alone on the line; None while more text may still decide it."""
        for header in self._frame.headers:
            if data.startswith(header, at):
                return _blank_to_end(data, at + len(header))
            if header.startswith(data[at : at + len(header)]):
                return None
        return False

    def _backslashes(self, data: str, at: int, out: list[str]) -> int | None:
        """Drop one backslash of an escaped line; of several, all but the last are text anyway."""
        end = at
        while end < len(data) and data[end] == "\\":
            end += 1
        out.append(self._release_fence() + data[at : end - 1])
        start = data[end : end + _LONGEST_START]
        escaped = begins_delimiter(start, self._frame)
        if escaped:
            return self._text(data, end, end, out)
        if escaped is None and len(start) < _LONGEST_START:
            self._held = data[end - 1 :]
            return len(data)
        return self._text(data, end - 1, end, out)

    def _fence_line(self, data: str, at: int, out: list[str]) -> int | None:
        """Decide on a line that starts with the fence's character."""
        end = at
        while end < len(data) and data[end] == data[at] and end - at < LONGEST_FENCE:
            end += 1
        if not self._frame.fence_ends_turn:
            return self._three_fence_line(data, at, end, out)
        if not self._indented:
            self.ended = end - at >= len(self._frame.fence)
            if self.ended or end == len(data):
                return at if self.ended else None
        return self._text(data, at, end, out)

    def _three_fence_line(self, data: str, at: int, end: int, out: list[str]) -> int | None:
        """Decide on a run of fence characters where the format has three, as code blocks do."""
        run = end - at
        if end == len(data):
            return None
        if run >= 3 and (self._block or self._bare_fence):
            out.append(self._release_fence())
            self._closes = run >= self._block
        elif run >= 3:
            bare = _blank_to_end(data, end)
            if bare is None:
                return None
            if bare and not self._indented:
                while data[end] in " \t":
                    end += 1
                self._bare_fence = data[at : end + 1]
                return end + 1
            if bare:
                self._block = run
            else:
                self._opener = run
        return self._text(data, at, end, out)

    def _text(self, data: str, at: int, end: int, out: list[str]) -> int:
        """The line is text from here on."""
        out.append(self._release_fence() + data[at:end])
        self._line_start = False
        return end

    def _pass_blank(self, blank: str, out: list[str]) -> None:
        if not self._bare_fence:
            out.append(blank)
            return
        self._bare_fence += blank
        self.ended = len(self._bare_fence) > LONGEST_FENCE

    def _release_fence(self) -> str:
        """The bare fence was text after all: it opened a code block."""
        fence, self._bare_fence = self._bare_fence, ""
        if fence:
            self._block = len(fence) - len(fence.lstrip(fence[0]))
        return fence


def _blank_to_end(data: str, at: int) -> bool | None:
    """Whether only blanks stand from here to the line's end; None while that is open."""
    for position in range(at, min(at + _BLANKS_AFTER, len(data))):
        if data[position] in LINE_BREAKS:
            return True
        if data[position] not in " \t":
            return False
    return None if len(data) < at + _BLANKS_AFTER else False
