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
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import dedent

__all__ = ["Citation", "find_citations", "number_passages", "passages_with_question"]

_PAIRED = r"\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f"
_NO_SPACES = re.compile(f"[{_PAIRED}]")
"""Scripts that write words without spaces between them."""
_NUMBERS = r"\d{1,3}(?:[ \t]*[,;–-][ \t]*\d{1,3})*"
_MARK = rf"(?:\[{_NUMBERS}\]|【{_NUMBERS}】)"
_MARKS = re.compile(rf"{_MARK}(?:[ \t]*[,;]?[ \t]*(?:(?:and|und|&)[ \t]*)?{_MARK})*")
_NO_MARKS = re.compile(
    r"^[ \t]*(`{3,}).*?(?:^[ \t]*\1|\Z)"  # a block of code
    r"|`[^`\n]+`"  # code in a line
    r"|\[[^\[\]\n]*\]\("  # a link
    # an index, as in items[0], but not a citation that ends a clause, as in "twelve[1]."
    rf"|(?<=[^\W{_PAIRED}])(?:\[{_NUMBERS}\])++(?![ \t]*(?:[.,;:!?](?!\w)|\n|\Z))",
    re.MULTILINE | re.DOTALL,
)
"""What holds numbers in brackets that cite nothing."""
_CLOSERS = "\"')*”’»」』）"
_MONTH = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
_SENTENCE_END = re.compile(
    # German dates, as "am 3. Mai", go on
    rf"(?<=[.!?…])(?!(?<=\d\.)\s+(?:{_MONTH})\b)[{_CLOSERS}]*\s+"
    rf"|(?<=[。！？｡।؟۔])[{_CLOSERS}]*\s*"
    r"|\n+"
)
_ABBREVIATION = re.compile(
    r"\b(?:[^\W\d_]|abs|al|approx|apr|art|aug|ave|bzw|ca|cf|co|corp|dec|dept|dez|dr|ed|est|evtl"
    r"|feb|fig|fri|ggf|hr|hrs|inc|inkl|jan|jr|jul|jun|ltd|mar|max|min|mins|mio|mon|mr|mrd|mrs|ms"
    r"|mt|no|nov|nr|oct|okt|pp|prof|rd|sat|sec|sep|sept|sr|st|std|str|sun|tel|thu|tsd|tue|vgl"
    r"|vol|vs|wed|zzgl)\.$",
    re.IGNORECASE,
)
_COMBINING = "".join(
    mark for mark in map(chr, range(0x300, 0x3100)) if unicodedata.category(mark)[0] == "M"
)
_COMPOSED = {
    char: unicodedata.decomposition(char).partition(">")[0]
    for char in map(chr, range(0xA0, 0x3400))
    if any(map(str.isdigit, unicodedata.normalize("NFKC", char)))
}
_FRACTIONS = "".join(char for char, kind in _COMPOSED.items() if kind == "<fraction")
_NO_FIGURES = {
    ord(char): " " for char, kind in _COMPOSED.items() if kind in {"<super", "<sub", "<square"}
}
"""Characters such as the ² of m², which are no figures."""
_WORD = re.compile(rf"\d+(?:[.,:]\d+)*[{_FRACTIONS}]?|[{_FRACTIONS}]|(?:[^\W\d_][{_COMBINING}]*)+")
_NO_FRACTIONS = re.compile(f"[^{_FRACTIONS}]+")
_THOUSANDS = re.compile(r"(?<=\d)[,'’\u00a0\u202f](?=\d{3}(?!\d))")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_HYPHENATION = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010][ \t]*\n\s*(?=[^\W\d_])")
_INDENT = "\n    "
_LEAST_SHARE = 0.5
_COMMON = frozenset(
    """
    a an and are as at be but by did do for had has he her him his i if in is it its me my of on or
    our out she so the to us was we who you
    about after also although because been before being both could does each either else ever
    every from have having here however into just like many more most much must only other
    over same shall should some such than that their them then there therefore these they this
    those through thus under until very were what when where whether which while will with
    within would your yours according answer context passage passages question source
    """.split()  # noqa: SIM905 - a list of them would take a hundred lines
)
"""Words that say nothing of the claim."""


@dataclass(frozen=True, slots=True)
class Citation:
    """One number that a reply cites, and the claim before it.

    Attributes:
        number: The number cited; passages count from 1.
        claim: The statement that it stands for: the sentence, or what of it follows the citation
            before; what follows the citation, if nothing is stated before it.
        passage: The passage's text; None if there is none of this number.
        missing: Words and figures of the claim that the passage does not hold, in lower case.
        is_supported: Whether the passage holds all figures of the claim and at least half of its
            words; all words of a claim that has only short ones, such as "It is red".
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
    """Return the citations of a reply, in order.

    Citations are ``[1]``, ``[1][2]``, ``[1, 2]``, ``[1] and [2]``, ``[1-3]`` and ``【1】``. Numbers
    in code, in links and in an index such as ``items[0]`` are none.

    Args:
        reply: The reply's text.
        passages: The passages' texts, in the order in which they were numbered.
    """
    return tuple(_citations(reply, passages))


def _citations(reply: str, passages: Sequence[str]) -> Iterator[Citation]:
    held = dict[int, list[str]]()
    found = [*_MARKS.finditer(_NO_MARKS.sub(lambda skipped: "`" * len(skipped[0]), reply))]
    texts, start = list[str](), 0  # before each citation, and after the last one
    for marks in found:
        texts.append(reply[start : marks.start()])
        start = marks.end()
    texts.append(reply[start:])
    for at, marks in enumerate(found):
        claim = _claim(texts[at], texts[at + 1], is_last=at + 1 == len(found))
        for number in dict.fromkeys(_numbers(marks[0], len(passages))):
            passage = passages[number - 1] if 0 < number <= len(passages) else None
            if number not in held:
                held[number] = _held_words(passage or "")
            yield _judged(number, claim, passage, held[number])


def _claim(before: str, after: str, *, is_last: bool) -> str:
    """Return what a citation stands for: the sentence before it, or else what follows it.

    Args:
        before: The text from the last citation, or from the start.
        after: The text up to the next citation, or to the end.
        is_last: Whether no citation follows.
    """
    own, following = _sentences(before), _sentences(after)
    claim = next(filter(None, reversed(own)), "")
    if not claim:  # the citation comes first
        return next(filter(None, following), "")
    goes_on = own[-1] and (is_last or len(following) > 1)
    if goes_on and not any(_content_words(claim)) and any(_content_words(following[0])):
        return following[0]  # "According to [1], ..."
    return claim


def _numbers(marks: str, last: int) -> Iterator[int]:
    """Yield the numbers cited; of a range, its two ends and those up to the last passage."""
    for first, _, end in re.findall(r"(\d+)([ \t]*[–-][ \t]*(\d+))?", marks):
        yield int(first)
        if end:
            yield from range(int(first) + 1, min(int(end), last + 1))
            yield int(end)


def _sentences(text: str) -> list[str]:
    """Return a text's sentences without marks around them; one that holds no word is empty.

    None ends after an abbreviation, or where a lower-case letter follows: of a claim that is too
    short, made-up figures would be missed.
    """
    text, start, found = text.replace("**", ""), 0, list[str]()
    for end in _SENTENCE_END.finditer(text):
        goes_on = text[end.end() : end.end() + 1].islower() and end[0].count("\n") < 2
        if not goes_on and not _ABBREVIATION.search(text, max(0, end.start() - 9), end.start()):
            found.append(text[start : end.end()])
            start = end.end()
    parts = (part.strip(" \t\n*-,;:、，；：。") for part in (*found, text[start:]))
    return [part if _WORD.search(part) else "" for part in parts]


def _judged(number: int, claim: str, passage: str | None, held: list[str]) -> Citation:
    words = list(dict.fromkeys(_content_words(claim)))
    share = _LEAST_SHARE
    if not words:  # "It is red": the few words that there are must all be held
        every = list(dict.fromkeys(_words(claim)))
        words, share = [word for word in every if word not in _COMMON] or every, 1.0
    missing = tuple(word for word in words if not _is_held(word, held))
    supported = bool(words) and len(words) - len(missing) >= share * len(words)
    supported = supported and not any(map(_is_figure, missing))
    return Citation(number, claim, passage, missing, supported and passage is not None)


def _words(text: str) -> Iterator[str]:
    """Yield a text's words in lower case: pairs of characters where none are divided by spaces.

    Letters are the same in each of their Unicode forms, and invisible characters do not count.
    """
    text = _THOUSANDS.sub("", text.translate(_NO_FIGURES))
    for word in _WORD.findall(_normalized(_normalized(text).casefold().translate(_INVISIBLE))):
        if _NO_SPACES.search(word) and len(word) > 2:
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        else:
            yield word


def _normalized(text: str) -> str:
    return _NO_FRACTIONS.sub(lambda part: unicodedata.normalize("NFKC", part[0]), text)


def _content_words(text: str) -> Iterator[str]:
    for word in _words(text):
        if _is_figure(word) or _NO_SPACES.search(word) or (len(word) > 3 and word not in _COMMON):
            yield word


def _is_figure(word: str) -> bool:
    return not word[0].isalpha()


def _held_words(passage: str) -> list[str]:
    """Return a passage's words in alphabetical order, also those hyphenated at a line's end."""
    return sorted({*_words(passage), *_words(_HYPHENATION.sub("", passage))})


def _is_held(word: str, held: list[str]) -> bool:
    """Return whether a word is among those held, in any of its forms.

    Figures, and words of up to three letters, count as written.
    """
    in_any_form = word.isalpha() and len(word) > 3
    stem = word[: max(4, len(word) - 3)] if in_any_form else word
    at = bisect_left(held, stem)
    return at < len(held) and (held[at].startswith(stem) if in_any_form else held[at] == word)


def _lines(passage: str) -> list[str]:
    """Return a passage's lines that hold text, with the indentation they have to each other."""
    lines = [line.rstrip() for line in passage.splitlines() if line.strip()]
    return dedent("\n".join(lines)).split("\n")
