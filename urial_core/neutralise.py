r"""Neutralise: keep untrusted text from forging a section of the page.

The page is plain text, so a user, a document or a tool could write a line ``# Answer:`` and put
words into the assistant's mouth. Such a line gets a backslash before it (``\# Answer:``), as
Markdown escapes do, and a fence line that would close the section too. A line that already has
backslashes gets one more, which makes the change reversible: ``restore(neutralise(t)) == t`` for
every text. ``urial_core.reply`` applies the same inverse to what the model writes, so a model that
quotes a neutralised line gives the user the line as it was.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from urial_core.frame import LINE_BREAKS, LONGEST_FENCE, Frame

__all__ = ["neutralise", "restore"]

_LINES = re.compile(f"[^{LINE_BREAKS}]*(?:\r\n|[{LINE_BREAKS}]|$)")


def neutralise(text: str, frame: Frame) -> str:
    """Return the text with every line that could forge the frame's structure escaped.

    Text without such a line comes back unchanged.
    """
    if not _suspicious(frame).search(text):
        return text
    lines = _LINES.findall(text)
    closers = _longest_closer_after(lines, frame) if _tracks_blocks(frame) else []
    block = 0  # the length of the fence of the code block we are in
    out = []
    for number, line in enumerate(lines):
        indent, slashes, target, rest = _parts(line, frame)
        escape = bool(slashes) or target in frame.headers
        if target and not slashes and target not in frame.headers:
            if not _tracks_blocks(frame) or len(target) > LONGEST_FENCE:
                escape = True
            elif block:
                block = 0 if _is_bare(rest) and len(target) >= block else block
            elif (indent or not _is_bare(rest)) and closers[number] >= len(target):
                block = len(target) if _is_opener(target, rest) else 0
            else:
                escape = _is_bare(rest) or _is_opener(target, rest)
        out.append(f"{indent}\\{slashes}{target}{rest}" if target and escape else line)
    return "".join(out)


def restore(text: str, frame: Frame) -> str:
    """Undo ``neutralise``."""
    return "".join(
        f"{indent}{slashes[1:]}{target}{rest}" if target else line
        for line in _LINES.findall(text)
        for indent, slashes, target, rest in [_parts(line, frame)]
    )


@lru_cache(maxsize=64)
def _suspicious(frame: Frame) -> re.Pattern[str]:
    """Matches the start of a line that may need a second look."""
    return re.compile(f"(?:^|[{LINE_BREAKS}])[ \t]*\\\\*(?:{_targets(frame)})")


@lru_cache(maxsize=64)
def _line(frame: Frame) -> re.Pattern[str]:
    return re.compile(f"([ \t]*)(\\\\*)({_targets(frame)})(.*)", re.DOTALL)


def _targets(frame: Frame) -> str:
    fence = [f"{re.escape(frame.fence)}{re.escape(frame.fence[0])}*"] if frame.fence else []
    return "|".join([*map(re.escape, frame.headers), *fence])


def _parts(line: str, frame: Frame) -> tuple[str, str, str, str]:
    """Split a line into indentation, backslashes, header or fence, and the rest."""
    match = _line(frame).fullmatch(line)
    return (match[1], match[2], match[3], match[4]) if match else ("", "", "", line)


def _tracks_blocks(frame: Frame) -> bool:
    """Whether a code block's own fence looks like the frame's."""
    return len(frame.fence) == 3


def _is_bare(rest: str) -> bool:
    return not rest.strip(LINE_BREAKS + " \t")


def _is_opener(fence: str, rest: str) -> bool:
    return fence[0] == "~" or "`" not in rest


def _longest_closer_after(lines: list[str], frame: Frame) -> list[int]:
    """For each line, the length of the longest bare fence on any later line."""
    runs = []
    for line in lines:
        _, slashes, target, rest = _parts(line, frame)
        is_closer = target and not slashes and target not in frame.headers and _is_bare(rest)
        runs.append(len(target) if is_closer and len(target) <= LONGEST_FENCE else 0)
    return list(accumulate(reversed(runs[1:]), max, initial=0))[::-1]
