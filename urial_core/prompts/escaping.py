r"""Escape untrusted text so that it cannot forge a turn (prompt injection by delimiters).

A prompt is plain text, so a user, a document or a tool could write a line ``# Answer:`` and put
words into the assistant's mouth. Such a line gets a backslash before it (``\# Answer:``), as in
Markdown, and so does a fence line that would end the turn. A line that already has backslashes gets
one more, which makes escaping reversible: ``unescape(escape(t)) == t`` for every text.
``urial_core.decoding`` unescapes what the model writes, so a model that quotes an escaped line
gives the user the line as it was.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from urial_core.errors import PromptError
from urial_core.prompts.prompt_format import LINE_BREAKS, LONGEST_FENCE, PromptFormat

__all__ = ["check_needs_no_escaping", "escape", "unescape"]

_LINES = re.compile(f"[^{LINE_BREAKS}]*(?:\r\n|[{LINE_BREAKS}]|$)")


def escape(text: str, prompt_format: PromptFormat) -> str:
    """Return the text with every line that could forge the format's structure escaped.

    Text without such a line comes back unchanged.
    """
    if not _suspicious(prompt_format).search(text):
        return text
    lines = _LINES.findall(text)
    closers = _longest_closer_after(lines, prompt_format) if _tracks_blocks(prompt_format) else []
    block = 0  # the length of the fence of the code block we are in
    out = []
    for number, line in enumerate(lines):
        indent, slashes, target, rest = _parts(line, prompt_format)
        escape = bool(slashes) or target in prompt_format.headers
        if target and not slashes and target not in prompt_format.headers:
            if not _tracks_blocks(prompt_format) or len(target) > LONGEST_FENCE:
                escape = True
            elif block:
                block = 0 if _is_bare(rest) and len(target) >= block else block
            elif (indent or not _is_bare(rest)) and closers[number] >= len(target):
                block = len(target) if _is_opener(target, rest) else 0
            else:
                escape = _is_bare(rest) or _is_opener(target, rest)
        out.append(f"{indent}\\{slashes}{target}{rest}" if target and escape else line)
    return "".join(out)


def unescape(text: str, prompt_format: PromptFormat) -> str:
    """Undo ``escape``."""
    return "".join(
        f"{indent}{slashes[1:]}{target}{rest}" if target else line
        for line in _LINES.findall(text)
        for indent, slashes, target, rest in [_parts(line, prompt_format)]
    )


def check_needs_no_escaping(text: str, prompt_format: PromptFormat, name: str) -> None:
    """Raise unless a prompt's own text can be written as it is.

    Args:
        text: The text.
        prompt_format: The format in which it is written.
        name: The text's name in the error.

    Raises:
        PromptError: The text would break the prompt's structure.
    """
    if escape(text, prompt_format) != text:
        raise PromptError(
            f"{name} holds a line that looks like one of the headers {prompt_format.headers} or "
            f"the fence {prompt_format.fence!r}: {text!r}. Reword the line or choose another "
            "format."
        )


@lru_cache(maxsize=64)
def _suspicious(prompt_format: PromptFormat) -> re.Pattern[str]:
    """Matches the start of a line that may need a second look."""
    return re.compile(f"(?:^|[{LINE_BREAKS}])[ \t]*\\\\*(?:{_targets(prompt_format)})")


@lru_cache(maxsize=64)
def _line(prompt_format: PromptFormat) -> re.Pattern[str]:
    return re.compile(f"([ \t]*)(\\\\*)({_targets(prompt_format)})(.*)", re.DOTALL)


def _targets(prompt_format: PromptFormat) -> str:
    targets = list(map(re.escape, prompt_format.headers))
    if fence := prompt_format.fence:
        targets.append(f"{re.escape(fence)}{re.escape(fence[0])}*")
    return "|".join(targets)


def _parts(line: str, prompt_format: PromptFormat) -> tuple[str, str, str, str]:
    """Split a line into indentation, backslashes, header or fence, and the rest."""
    match = _line(prompt_format).fullmatch(line)
    return (match[1], match[2], match[3], match[4]) if match else ("", "", "", line)


def _tracks_blocks(prompt_format: PromptFormat) -> bool:
    """Whether a code block's own fence looks like the format's."""
    return len(prompt_format.fence) == 3


def _is_bare(rest: str) -> bool:
    return not rest.strip(LINE_BREAKS + " \t")


def _is_opener(fence: str, rest: str) -> bool:
    return fence[0] == "~" or "`" not in rest


def _longest_closer_after(lines: list[str], prompt_format: PromptFormat) -> list[int]:
    """For each line, the length of the longest bare fence on any later line."""
    runs = []
    for line in lines:
        _, slashes, target, rest = _parts(line, prompt_format)
        is_closer = (
            target and not slashes and target not in prompt_format.headers and _is_bare(rest)
        )
        runs.append(len(target) if is_closer and len(target) <= LONGEST_FENCE else 0)
    return list(accumulate(reversed(runs[1:]), max, initial=0))[::-1]
