"""Decode a reply up to where it runs on into a template: the message's, or the prompt's own.

Both decoders have ``feed(text) -> text`` and ``flush() -> text`` and do no I/O (sans-I/O).
"""

from __future__ import annotations

import re

from urial_core.decoding.stream_decoders import StopDecoder
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.template_lines import normalised
from urial_core.prompts.template_stops import TemplateStops

__all__ = ["InventedHeadingDecoder", "TemplateDecoder"]

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`\n]*)")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_HEADING = re.compile(r"#{1,6} ")
_NEXT_TITLE = re.compile(r"(?i)#|.*[*_]$|\W*(?:next )?(?:example|question|query|next)\W*\d*\W*$")
"""What titles another turn below the answer, even if it ends in a colon (``**Example 2:**``)."""
_LONGEST_HEADING = 48
_LEAST_RULER = 8
_HEAD = 120
"""Characters of a line's start by which a code block's fence is known."""


class InventedHeadingDecoder:
    """Makes a turn end before a heading that the model invented (``## System:`` and a fence).

    The heading is left out; the fence after it ends the turn. It counts only where the fence
    follows, or the end of the text.
    """

    def __init__(self, prompt_format: PromptFormat, written: str = "") -> None:
        """Start after what is already ``written`` in the turn."""
        self._format = prompt_format
        self._held = ""
        self._line_start = not written or written[-1] == "\n"
        self._active = prompt_format.fence_ends_turn and prompt_format.query_header[0] == "#"

    def feed(self, text: str) -> str:
        """Take more text; return what is certainly no invented heading."""
        if not self._active:
            return text
        data, out, at, fence = self._held + text, list[str](), 0, self._format.fence
        self._held = ""
        while at < len(data):
            end = data.find("\n", at) + 1
            if self._line_start and self._may_be_heading(data[at : end or None]):
                below = end + data.startswith("\n", end)
                start = data[below : below + len(fence)]
                if not end or (start != fence and fence.startswith(start)):
                    self._held = data[at:]
                    break
                at = below if start == fence else at
                end = data.find("\n", at) + 1
            out.append(data[at : end or None])
            self._line_start, at = bool(end), end or len(data)
        return "".join(out)

    def flush(self, *, cut: bool = False) -> str:
        """Return what was held back; a heading at the very end was the next turn's."""
        held, self._held = self._held, ""
        line = held.rstrip()
        is_heading = "\n" not in line and line.endswith((":", "\uff1a"))
        if not is_heading or (cut and not self._is_known(line)):
            return held
        return f"{self._format.query_header}\n"

    def _may_be_heading(self, line: str) -> bool:
        text = line.rstrip()
        if not line.startswith("#") or len(line) > _LONGEST_HEADING:
            return False
        if line.startswith(self._format.headers):
            return False  # the turn decoder's business
        return text.endswith((":", "\uff1a")) or not line.endswith("\n")

    def _is_known(self, line: str) -> bool:
        known = {header.strip("# ") for header in self._format.headers}
        return line.strip("# ") in known


class TemplateDecoder:
    """Passes a reply's text on up to where it continues the message's template.

    A stop counts at the start of a line, outside code blocks. Text is held back only while the
    line may still become one. Before the text, an echo of the message's last labels with their
    text, and of its cue, is left out, and so is a fence around a value: around code where the cue
    asks for code, and around a single line. Quotes that the cue opens end the reply.

    Attributes:
        ended: Whether a stop was found. Text fed after it is ignored.
        skipped: Characters left out before the text.
    """

    def __init__(self, stops: TemplateStops, written: str = "") -> None:
        """Start a reply, or go on after what is already ``written`` of it."""
        self.ended = False
        self.skipped = 0
        self._stops = stops
        self._held = ""
        self._quotes = StopDecoder((stops.quotes,) if stops.quotes else ())
        self._leading = bool(stops.cue or stops.asked) and not written
        self._fenced = False  # whether the fence at the start was left out
        self._block = ""  # the fence of the code block we are in
        self._opened_bare = False  # whether the last line opened that block, without a language
        self._head = ""  # the line that we are in, or its beginning
        self._length = 0  # characters of that line
        self._before = ("", 0)  # the last line with text: its last character, its length
        self._announced = True  # whether that line, or the reply's start, may introduce labels
        self._own = set[str]()  # the labels that the reply itself introduced
        self._line_start = True
        self._lines = 0  # with text, that have ended
        self._longest = max(map(len, (*stops.starts, *stops.lines, *stops.sentences)), default=0)
        self._longest_asked = max(map(len, stops.asked), default=0)
        self._pass(written)

    def feed(self, text: str) -> str:
        """Take more text; return what certainly precedes a stop."""
        return "" if self.ended else self._take(text, last=False)

    def flush(self, *, cut: bool = False) -> str:
        """Return what was held back, now that no more text comes.

        Args:
            cut: Whether the text was cut: then a stop or quotes that had begun are left out.
        """
        if self.ended:
            return ""
        begun = cut and self._held and not self._leading
        if cut and not self._leading:
            self._quotes.flush()
        rest = self._take("", last=True)
        return "" if begun else rest

    def _take(self, text: str, *, last: bool) -> str:
        if self._leading:
            data, self._held = self._held + text, ""
            rest = self._after_lead(data, last=last)
            if rest is None:
                self._held = data
                return ""
            self._leading = False
            self.skipped = len(data[: len(data) - len(rest)].rstrip())
            text = rest
        text = self._quotes.feed(text)
        if last or self._quotes.matched is not None:
            text, last = text + self._quotes.flush(), True
        data, self._held = self._held + text, ""
        out, at = list[str](), 0
        while at < len(data) and not self.ended:
            end = data.find("\n", at) + 1
            line, whole = data[at : end or None], bool(end) or last
            if self._line_start:
                verdict = self._is_stop(line.rstrip("\n"), complete=whole)
                closes = self._fenced and _may_be_bare_fence(line)
                if verdict is None or (closes and not whole):
                    self._held = data[at:]
                    break
                self.ended = verdict or (closes and "```" in line and self._stops.is_code)
                if self.ended:
                    break
                if closes and "```" in line:
                    self._fenced, at = False, end or len(data)
                    continue
            out.append(self._pass(line))
            at += len(line)
        self.ended |= self._quotes.matched is not None
        return "".join(out)

    def _is_stop(self, line: str, *, complete: bool) -> bool | None:
        """Whether a line is a stop; None while more of it may still make it one."""
        if self._block:
            return False
        text = normalised(line.rstrip("\r"))
        ruler = self._is_ruler(text, complete=complete)
        if ruler is not False:
            return ruler
        if self._lines and any(map(text.startswith, self._stops.sentences)):
            return True
        is_line = complete and text.rstrip() in self._stops.lines
        if is_line or any(map(text.startswith, self._stops.starts)):
            return not self._is_own(text)
        known = (*self._stops.starts, *self._stops.sentences, *self._stops.lines)
        undecided = not complete and len(line) <= self._longest + _LONGEST_HEADING
        return None if undecided and any(one.startswith(text.rstrip()) for one in known) else False

    def _is_own(self, line: str) -> bool:
        """Whether a label is the reply's own: it began with one, or a line above announced it."""
        if self._announced:
            self._own |= self._introduced(line)
            if not self._stops.sure:
                self._own |= {*self._stops.starts, *self._stops.lines}
        return line.lstrip().startswith(tuple(self._own)) or line.startswith(tuple(self._own))

    def _introduced(self, line: str) -> set[str]:
        """Return the labels of the message's record that a line begins."""
        records = (one for one in self._stops.records if line.lstrip().startswith(one))
        return {label for record in records for label in record}

    def _is_ruler(self, line: str, *, complete: bool) -> bool | None:
        text = line.strip()
        for ruler in self._stops.rulers:
            if text and not text.strip(ruler[0]):
                if not complete and len(text) <= _HEAD:
                    return None
                last, length = self._before
                # A line of the reply's own, underlined as in Markdown.
                is_heading = len(text) == length != len(ruler) and last not in ".!?"
                return len(text) >= min(len(ruler), _LEAST_RULER) and not is_heading
        return False

    def _after_lead(self, data: str, *, last: bool) -> str | None:
        """Return what follows an echo of the message's end and a needless fence.

        None while undecided.
        """
        start = data.lstrip()
        if len(data) - len(start) > _HEAD:
            return data
        rest = self._after_echo(start, last=last)
        if rest is None or (not rest and not last):
            return None
        if self._stops.cue:
            openers = ("```", self._stops.quotes)
            if not last and len(rest) < 3 and any(one.startswith(rest) for one in openers):
                return None
            rest = rest.removeprefix(self._stops.quotes)
            if rest.startswith("```"):
                return self._after_fence(rest, last=last)
        elif not self._stops.sure:  # a list, if another of its labels follows
            begun = normalised(rest[:_HEAD])
            if begun.startswith(self._stops.starts):
                return data
            if not last and any(one.startswith(begun) for one in self._stops.starts):
                return None
        return rest if len(rest) < len(start) else data

    def _after_echo(self, text: str, *, last: bool) -> str | None:
        """Return what follows the labels that the message gave last, and its cue."""
        for _ in self._stops.asked:
            length = self._repeated(text, last=last)
            if length is None:
                return None
            text = text[length:].lstrip()
        cue = self._stops.cue
        if text and cue and not text.startswith(cue):
            return None if cue.startswith(text) and not last else text
        return text.removeprefix(cue).lstrip()

    def _repeated(self, text: str, *, last: bool) -> int | None:
        """Return how much of a text repeats a label of the message; None while undecided."""
        longest = 2 * self._longest_asked
        begun = " ".join(text[:longest].split())
        cue = self._stops.cue or "\n"
        for asked in self._stops.asked:
            if begun.startswith(asked):
                words = r"\s+".join(map(re.escape, asked.split()))
                if found := re.match(rf"{words}[ \t\r]{{0,40}}", text):
                    below = text[found.end() :]
                    if below.startswith(("\n", cue)) or (last and not below):
                        return found.end()
                    if cue.startswith(below) and not last:
                        return None
            elif asked.startswith(begun) and not last and len(text) < longest:
                return None
        return 0

    def _after_fence(self, rest: str, *, last: bool) -> str | None:
        opener, found, body = rest.partition("\n")
        language = opener.strip("` ")
        if len(opener) > _LONGEST_HEADING or (last and not found):
            return rest
        if not found:
            return None
        if self._stops.is_code and len(language.split()) < 2:
            self._fenced = True
            return body
        if language:
            return rest
        value, found, below = body.removeprefix("\n").partition("\n")
        below = below.removeprefix("\n")
        if len(value) > _HEAD or (not value.strip() and (found or last)):
            return rest
        if not last and not below:
            return None
        line, found, _ = below.partition("\n")
        if not last and not found and _may_be_bare_fence(line):
            return None
        stop = self._is_stop(line, complete=bool(found) or last) if below else True
        if stop is None:
            return None
        if stop or _is_bare_fence(line):
            self._fenced = True
            return body
        return rest

    def _announces(self, line: str) -> bool:
        """Whether labels below a line are the reply's own."""
        if not self._lines and not self._stops.sure and _HEADING.match(line):
            return True
        ends_in_colon = self._before[0] in (":", "\uff1a")
        if line == self._stops.cue and self._lines > 1:
            return False  # further down, it begins another turn
        if not ends_in_colon or normalised(line).startswith(self._stops.turns):
            return False
        return not self._lines or not _NEXT_TITLE.match(line)

    def _pass(self, text: str) -> str:
        """Note what text is passed on."""
        for line in _LINES.findall(text):
            self._head = (self._head + line)[:_HEAD]
            if stripped := line.rstrip("*_ \t\r\n"):  # of a line in bold, what is within
                self._before = (stripped[-1], self._length + len(stripped))
            self._length += len(line)
            self._line_start = line[-1] == "\n"
            if self._line_start:
                self._end_line()
        return text

    def _end_line(self) -> None:
        if self._announced and not self._block:
            self._own |= self._introduced(normalised(self._head))
        if self._head.strip():
            self._announced = self._announces(self._head.strip())
            self._lines += 1
        fence = _FENCE.match(self._head)
        if self._opened_bare and not self._head.strip():
            self._block = ""  # a stray fence: code begins right below its own
        self._opened_bare = bool(fence and not self._block and not fence[2].strip())
        if fence and not self._block:
            self._block = fence[1]
        elif fence and fence[1].startswith(self._block) and not fence[2].strip():
            self._block = ""
        self._head, self._length = "", 0


def _may_be_bare_fence(line: str) -> bool:
    return bool(line.strip()) and not line.strip().strip("`") and len(line) < _LONGEST_HEADING


def _is_bare_fence(line: str) -> bool:
    return _may_be_bare_fence(line) and "```" in line
