r"""Escape untrusted text so that it cannot forge a turn (prompt injection by delimiters).

A prompt is plain text, so a user, a document or a tool could write a line ``# Answer:`` and put
words into the assistant's mouth. Such a line gets a backslash before it (``\# Answer:``), as in
Markdown, and so does a fence line that would end the turn. A line that already has backslashes gets
one more, which makes escaping reversible: ``unescape(escape(t)) == t`` for every text.
``urial_core.decoding`` unescapes what the model writes, so a model that quotes an escaped line
gives the user the line as it was.

What counts is what the model sees, which is tokens. SentencePiece writes ``U+2581`` for a space,
and other tokenizers replace compatibility characters (NFC, NFKC), join spaces or drop invisible
characters: with them, a line that only looks like a header becomes one. So lines are compared as
such tokenizers would have them, and written as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from unicodedata import normalize

from urial_core.errors import PromptError
from urial_core.prompts.prompt_format import LINE_BREAKS, LONGEST_FENCE, PromptFormat

__all__ = [
    "begins_delimiter",
    "check_needs_no_escaping",
    "encodable",
    "escape",
    "lookalikes",
    "seen_headers",
    "unescape",
]

_BLANKS = "\t \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f"
_BLANKS += "\u205f\u2581\u3000"
"""Characters that some tokenizer takes for a space."""

_INVISIBLE_RANGES = (
    *((0x01, 0x08), (0x0E, 0x1B), (0x1F, 0x1F), (0x7F, 0x84), (0x86, 0x9F), (0xAD, 0xAD)),
    *((0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)),
    *((0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0001, 0xE0001), (0xE0020, 0xE007F)),
)
_INVISIBLE = "".join(chr(code) for a, b in _INVISIBLE_RANGES for code in range(a, b + 1))
"""Control and format characters, which some tokenizers drop; line breaks are not among them."""

_SEEN_AS = {ord(blank): " " for blank in _BLANKS} | dict.fromkeys(map(ord, _INVISIBLE), "")
_SEEN_AS |= {0x1FEF: "`", 0xFF40: "`", 0xFF5E: "~", 0xFE68: "\\", 0xFF3C: "\\"}
_LINES = re.compile(f"[^{LINE_BREAKS}]*(?:\r\n|[{LINE_BREAKS}]|$)")
_SPACES = re.compile(" {2,}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LAST_COMPATIBILITY_CHARACTER = 0x2FA1D


def escape(text: str, prompt_format: PromptFormat) -> str:
    """Return the text with every line that could forge the format's structure escaped.

    Text without such a line comes back unchanged, but for lone surrogates, which no tokenizer can
    encode (see ``encodable``).
    """
    text = encodable(text)
    if not _suspicious(prompt_format).search(text):
        return text
    lines = _LINES.findall(text)
    parsed = [_parse(line, prompt_format) for line in lines]
    closers = _longest_closer_after(parsed) if _tracks_blocks(prompt_format) else []
    block = 0  # the length of the fence of the code block we are in
    for number, line in enumerate(parsed):
        if line is None:
            continue
        escape = True
        if line.may_delimit_code and _tracks_blocks(prompt_format):
            if block:
                block = 0 if line.is_bare and line.fence >= block else block
                escape = False
            elif (line.at or not line.is_bare) and closers[number] >= line.fence:
                block = line.fence if line.is_opener else 0
                escape = False
            else:
                escape = line.is_bare or line.is_opener
        if escape:
            lines[number] = f"{lines[number][: line.at]}\\{lines[number][line.at :]}"
    return "".join(lines)


def unescape(text: str, prompt_format: PromptFormat) -> str:
    """Undo ``escape``."""
    if not _suspicious(prompt_format).search(text):
        return text
    lines = _LINES.findall(text)
    for number, line in enumerate(lines):
        parsed = _parse(line, prompt_format)
        if parsed and line[parsed.at] == "\\":
            lines[number] = line[: parsed.at] + line[parsed.at + 1 :]
    return "".join(lines)


def encodable(text: str) -> str:
    """Return a text that can be encoded: pairs of surrogates joined, lone ones replaced."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def begins_delimiter(start: str, prompt_format: PromptFormat) -> bool | None:
    """Return whether a line begins with a header or a fence, escaped or not, to some tokenizer.

    Args:
        start: The line as far as it is known, without its indentation.
        prompt_format: How the prompt is written.

    Returns:
        None while more of the line may decide.
    """
    seen = _seen(start).lstrip(" \\")
    if _begins_header(seen, prompt_format) or _fence_length(seen, prompt_format):
        return True
    delimiters = (*seen_headers(prompt_format), prompt_format.fence)
    seen = normalize("NFKD", seen[: _longest(prompt_format)])
    return None if any(delimiter.startswith(seen) for delimiter in delimiters) else False


@lru_cache(maxsize=64)
def lookalikes(prompt_format: PromptFormat) -> dict[str, str]:
    """Return what each character that can be a part of a delimiter is to some tokenizer.

    It is for writers that cannot normalise text. The empty text stands for an invisible character.
    """
    found = {chr(code): seen for code, seen in _SEEN_AS.items() if chr(code) != seen}
    for code in range(0x80, _LAST_COMPATIBILITY_CHARACTER + 1):
        character = chr(code)
        seen = normalize("NFKD", character)
        if seen == character or character in found:
            continue
        if any(_can_be_part(seen, header) for header in seen_headers(prompt_format)):
            found[character] = seen
    return found


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


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that begins with a header or a fence, or with backslashes and one of them.

    Attributes:
        at: Where its indentation ends.
        fence: The length of its fence; 0 for a header.
        may_delimit_code: Whether it can begin or end a code block: an unescaped fence, which reads
            the same to every tokenizer.
        is_bare: Whether nothing but blanks follow the fence.
        is_opener: Whether what follows the fence can be a code block's language.
    """

    at: int
    fence: int
    may_delimit_code: bool
    is_bare: bool
    is_opener: bool


def _parse(line: str, prompt_format: PromptFormat) -> _Line | None:
    if not _suspicious(prompt_format).match(line):
        return None
    plain = line.lstrip(" \t")
    at = len(line) - len(plain)
    seen = _seen(plain)
    core = seen.lstrip(" \\")
    if _begins_header(core, prompt_format):
        return _Line(at, 0, may_delimit_code=False, is_bare=False, is_opener=False)
    if not (run := _fence_length(core, prompt_format)):
        return None
    kind = _fence_kind(core[0], core[run:])
    same = plain[:run] == seen[:run] == core[:run] and kind == _fence_kind(core[0], plain[run:])
    return _Line(at, run, same and run <= LONGEST_FENCE, *kind)


def _fence_kind(mark: str, rest: str) -> tuple[bool, bool]:
    """Return whether a fence that this follows is bare, and whether it can open a code block."""
    return not rest.strip(LINE_BREAKS + " \t"), mark == "~" or "`" not in rest


def _longest_closer_after(lines: list[_Line | None]) -> list[int]:
    """For each line, the length of the longest bare fence on any later line."""
    runs = [line.fence if line and line.may_delimit_code and line.is_bare else 0 for line in lines]
    return list(accumulate(reversed(runs[1:]), max, initial=0))[::-1]


def _tracks_blocks(prompt_format: PromptFormat) -> bool:
    """Whether a code block's own fence looks like the format's."""
    return len(prompt_format.fence) == 3


def _seen(text: str) -> str:
    """Return a text without invisible characters, spaces joined, look-alikes of marks replaced."""
    return _SPACES.sub(" ", text.translate(_SEEN_AS))


def _begins_header(seen: str, prompt_format: PromptFormat) -> bool:
    # A few characters decide; to normalise long runs of combining marks takes quadratic time.
    start = normalize("NFKD", seen[: _longest(prompt_format)])
    return start.startswith(seen_headers(prompt_format))


def _fence_length(seen: str, prompt_format: PromptFormat) -> int:
    fence = prompt_format.fence
    return len(seen) - len(seen.lstrip(fence[0])) if fence and seen.startswith(fence) else 0


@lru_cache(maxsize=64)
def seen_headers(prompt_format: PromptFormat) -> tuple[str, ...]:
    """Return the headers as tokenizers that normalise text have them."""
    return tuple(normalize("NFKD", _seen(header)) for header in prompt_format.headers)


@lru_cache(maxsize=64)
def _longest(prompt_format: PromptFormat) -> int:
    return max(map(len, seen_headers(prompt_format)))


@lru_cache(maxsize=64)
def _suspicious(prompt_format: PromptFormat) -> re.Pattern[str]:
    """Match the start of a line that may need a second look."""
    first = {text[0] for text in (*seen_headers(prompt_format), prompt_format.fence) if text}
    return re.compile(
        f"(?:^|[{LINE_BREAKS}])[\\\\{_BLANKS}{_INVISIBLE}]*+"
        f"(?:[{re.escape(''.join(sorted(first)))}]|[^\0-\x7f])"
    )


def _can_be_part(seen: str, header: str) -> bool:
    """Whether a character that is seen as this can stand in a header, or at its end."""
    return seen in header or any(header.endswith(seen[:size]) for size in range(1, len(seen)))
