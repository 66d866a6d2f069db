"""Numbered passages in a message, and the citations of them in a reply.

The preset ``rag`` shows passages that are numbered ``[1]``, ``[2]``, and answers that cite them so.
``passages_with_question`` writes such a message, ``find_citations`` reads the reply.

Whether a passage holds what is claimed is judged by words alone, as a first check that costs
nothing. It finds made-up figures and names, and citations of the wrong passage; it does not find
a sentence that says the contrary in the same words. (Gao et al. 2023, "Enabling Large Language
Models to Generate Text with Citations", section 3, judges by a model for entailment instead.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import dedent

__all__ = ["Citation", "find_citations", "number_passages", "passages_with_question"]

_MARK = r"\[\d{1,3}(?:[ \t]*[,;][ \t]*\d{1,3})*\]"
_MARKS = re.compile(rf"{_MARK}(?:[ \t]*{_MARK})*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*]*\s+|\n+")
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+")
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")
"""Scripts that write words without spaces between them."""
_INDENT = "\n    "
_LEAST_SHARE = 0.5
_COMMON = frozenset(
    """
    about after also although because been before being both could does each either else ever
    every from have having here however into just like many more most much must only other
    over same shall should some such than that their them then there therefore these they this
    those through thus under until very were what when where whether which while will with
    within would your yours according answer context passage passages question source
    """.split()  # noqa: SIM905 - a list of them would take a hundred lines
)
"""Words of four letters and more that say nothing of the claim."""


@dataclass(frozen=True, slots=True)
class Citation:
    """One number that a reply cites, and the claim before it.

    Attributes:
        number: The number cited; passages count from 1.
        claim: The statement that it stands for: the sentence, or what of it follows the citation
            before.
        passage: The passage's text; None if there is none of this number.
        missing: Words and figures of the claim that the passage does not hold, in lower case.
        is_supported: Whether the passage holds all figures of the claim and at least half of its
            words.
    """

    number: int
    claim: str
    passage: str | None
    missing: tuple[str, ...]
    is_supported: bool


def number_passages(passages: Sequence[str], first: int = 1) -> str:
    """Number passages, ``[1]`` and so on, each on a line of its own.

    Further lines of a passage are indented, so that none can pass for a passage, a label or a
    question of its own. They keep their indentation to each other, as code and lists need it.
    Blank lines are left out, since one ends the passages.

    Args:
        passages: The passages' texts.
        first: The first one's number.
    """
    return "\n".join(
        f"[{number}] {_INDENT.join(_lines(passage))}"
        for number, passage in enumerate(passages, first)
    )


def passages_with_question(passages: Sequence[str], question: str) -> str:
    """Write passages and a question as the preset ``rag`` shows them."""
    return f"Context:\n{number_passages(passages)}\n\nQuestion: {question.strip()}"


def find_citations(reply: str, passages: Sequence[str]) -> tuple[Citation, ...]:
    """Return the citations of a reply (``[1]``, ``[1][2]``, ``[1, 2]``), in order.

    Args:
        reply: The reply's text.
        passages: The passages' texts, in the order in which they were numbered.
    """
    return tuple(_citations(reply, passages))


def _citations(reply: str, passages: Sequence[str]) -> Iterator[Citation]:
    start = 0
    for marks in _MARKS.finditer(reply):
        claim = _sentences(reply[start : marks.start()])[-1]
        if not claim:  # the citation comes first
            claim = _sentences(_MARKS.split(reply[marks.end() :])[0])[0]
        start = marks.end()
        for number in dict.fromkeys(map(int, re.findall(r"\d+", marks[0]))):
            passage = passages[number - 1] if 0 < number <= len(passages) else None
            yield _judged(number, claim, passage)


def _sentences(text: str) -> list[str]:
    """Return a text's sentences without marks around them; one empty one if there is none."""
    found = (part.strip(" \t*-,;:") for part in _SENTENCE_END.split(text.replace("**", "")))
    return [part for part in found if _WORD.search(part)] or [""]


def _judged(number: int, claim: str, passage: str | None) -> Citation:
    words = list(dict.fromkeys(_content_words(claim)))
    held = set(_words(passage or ""))
    missing = tuple(word for word in words if not _is_held(word, held))
    share = 1 - len(missing) / len(words) if words else 0.0
    supported = share >= _LEAST_SHARE and not any(word[0].isdigit() for word in missing)
    return Citation(number, claim, passage, missing, supported and passage is not None)


def _words(text: str) -> Iterator[str]:
    """Yield a text's words in lower case: pairs of characters where none are divided by spaces."""
    for word in _WORD.findall(text.casefold()):
        if _NO_SPACES.search(word) and len(word) > 2:
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        else:
            yield word


def _content_words(text: str) -> Iterator[str]:
    for word in _words(text):
        if word[0].isdigit() or _NO_SPACES.search(word) or (len(word) > 3 and word not in _COMMON):
            yield word


def _is_held(word: str, held: set[str]) -> bool:
    """Return whether a word is among those held, in any of its forms; figures count as written."""
    if word in held:
        return True
    stem = word[: max(4, len(word) - 3)]
    return word.isalpha() and any(other.startswith(stem) for other in held)


def _lines(passage: str) -> list[str]:
    """Return a passage's lines that hold text, with the indentation they have to each other."""
    lines = [line.rstrip() for line in passage.splitlines() if line.strip()]
    return dedent("\n".join(lines)).split("\n")
