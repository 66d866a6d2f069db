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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import dedent

__all__ = ["Citation", "find_citations", "number_passages", "passages_with_question"]

_PAIRED = r"\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f"
_NO_SPACES = re.compile(f"[{_PAIRED}]")
"""Scripts that write words without spaces between them."""
_NUMBERS = r"\d{1,3}(?:[ \t]*+[,;–-][ \t]*+\d{1,3})*+"
_MARK = rf"(?:\[(?!0+[ \t]*[–-]){_NUMBERS}\]|【{_NUMBERS}】)"
_MARKS = re.compile(_MARK)
_AFTER_A_WORD = re.compile(rf"(?<=[^\W{_PAIRED}])")
_NO_MARKS = re.compile(
    r"^[ \t]*(`{3,}).*?(?:^[ \t]*\1|\Z)"  # a block of code
    r"|`[^`\n]+`"  # code in a line
    r"|\[[^\[\]\n]*\]\(",  # a link
    re.MULTILINE | re.DOTALL,
)
"""What holds numbers in brackets that cite nothing."""
_MONTH = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
_LINE_START = re.compile(
    # a bullet and the number of a list's item, where a word follows in the line
    rf"^[ \t>*#|•-]*+(?:(?:\d{{1,3}}[.)](?![ \t]+(?:{_MONTH})\b)|[a-z]\))[ \t]++)?"
    rf"(?=(?:{_MARK}|[^\w\n])*+\w)",
    re.MULTILINE,
)
_CLOSERS = "\"')*”’»」』）"
_SENTENCE_END = re.compile(
    # German dates, as "am 3. Mai", go on
    rf"(?<=[.!?…])(?!(?<=\d\.)\s+(?:{_MONTH})\b)[{_CLOSERS}]*\s+"
    rf"|(?<=[。！？｡।؟۔])[{_CLOSERS}]*\s*"
    r"|\n+"
)
_ABBREVIATION = re.compile(
    r"\b(?:abs|approx|apr|art|aug|bzw|ca|cf|chr|dec|dez|dr|evtl|feb|fig|ggf|inkl|jan|jul|jun|mar|mio"
    r"|mr|mrd|mrs|ms|mt|no|nov|nr|oct|okt|p|pp|prof|sep|sept|st|tel|tsd|vgl|vol|vs|zzgl"
    r"|(?-i:[dinouvz])"  # of German "z. B.", "v. Chr."
    r"|(?![ap]\.\s?m)[^\W\d_]\.\s?[^\W\d_])\.$",  # two letters: "i.e.", "U.S."
    re.IGNORECASE,
)
"""Abbreviations that a capital letter or a figure follows within a sentence."""
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
    described mentioned noted reported said says shown shows stated states
    """.split()  # noqa: SIM905 - a list of them would take a hundred lines
)
"""Words that say nothing of the claim."""


@dataclass(frozen=True, slots=True)
class Citation:
    """One number that a reply cites, and its claim.

    Attributes:
        number: The number cited; passages count from 1.
        claim: The statement that it stands for: its sentence, or the part of it that ends with the
            citation, if there are several; the last one's part goes on to the sentence's end.
            Where nothing is stated before the first one ("According to [1], ..."), parts begin
            with the citations instead.
        passage: The passage's text; None if there is none of this number.
        missing: Words and figures of the claim that the passage does not hold, in lower case.
        is_supported: Whether the passage holds all figures of the claim and at least half of its
            words, and of those before the citation, too: all of them if they are short, such as
            "It is red".
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

    Citations are ``[1]``, ``[1, 2]``, ``[1-3]`` and ``【1】``; with at most one word between them,
    several are for the same claim, as in ``[1][2]`` and ``[1] and [2]``. Numbers in code and links
    are not citations, nor is the index in ``items[0]``.

    Args:
        reply: The reply's text.
        passages: The passages' texts, in the order in which they were numbered.
    """
    return tuple(_citations(reply, passages))


def _citations(reply: str, passages: Sequence[str]) -> Iterator[Citation]:
    held = dict[int, list[str]]()
    for numbers, own, claim in _claims(reply, len(passages)):
        # words by the citation, or, where these are all short, as in "It is red", each of them
        near, share = list(dict.fromkeys(_content_words(own))), _LEAST_SHARE
        if not near:
            every = list(dict.fromkeys(_words(own)))
            near, share = [word for word in every if word not in _COMMON] or every, 1.0
        words = list(dict.fromkeys([*near, *_content_words(claim)]))
        for number in numbers:
            passage = passages[number - 1] if 0 < number <= len(passages) else None
            if number not in held:
                held[number] = _held_words(passage or "")
            missing = tuple(word for word in words if not _is_held(word, held[number]))
            supported = (
                passage is not None
                and 0 < share * len(near) <= len(near) - len(set(missing).intersection(near))
                and len(words) - len(missing) >= _LEAST_SHARE * len(words)
                and not any(map(_is_figure, missing))
            )
            yield Citation(number, claim, passage, missing, supported)


def _claims(reply: str, last: int) -> Iterator[tuple[Iterable[int], str, str]]:
    """Yield numbers that are cited together, the part that they stand by, and their claim.

    Args:
        reply: The reply's text.
        last: The last passage's number.
    """
    marks = list(_marks(reply))
    text, at = _without_marks(reply, marks), 0
    for start, end in _sentences(text):
        groups, after = list[list[re.Match[str]]](), start
        while at < len(marks) and marks[at].start() < end:
            if groups and not _states(text[after : marks[at].start()]):
                groups[-1].append(marks[at])
            else:
                groups.append([marks[at]])
            after = marks[at].end()
            at += 1
        if groups:
            yield from _claims_of_sentence(text, start, end, groups, last)


def _claims_of_sentence(
    text: str, start: int, end: int, groups: list[list[re.Match[str]]], last: int
) -> Iterator[tuple[Iterable[int], str, str]]:
    """Yield the same for one sentence, whose marks are grouped by the claim that they are for."""
    is_after = _states(text[start : groups[0][0].start()])  # not so: "According to [1], ..."
    own, claim = "", ""
    for at, group in enumerate(groups):
        begin = groups[at - 1][-1].end() if at else start
        until = groups[at + 1][0].start() if at + 1 < len(groups) else end
        before, following = text[begin : group[0].start()], text[group[-1].end() : until]
        joined = text[group[0].end() : group[-1].start()]
        if any(_content_words(joined)):
            before += joined
        if is_after:
            own = claim = before
            if until == end and _WORD.search(following):
                claim += following
        elif _states(following):
            own, claim = following, following if at else before + following
        elif not at:
            own = claim = before + (following if _WORD.search(following) else "")
        numbers = [number for mark in group for number in _numbers(mark[0], last)]
        yield dict.fromkeys(numbers), own, _tidy(claim)


def _marks(reply: str) -> Iterator[re.Match[str]]:
    """Yield the marks that cite: none in code or a link, nor the index in ``items[0]``."""
    index_end = -1
    for mark in _MARKS.finditer(_NO_MARKS.sub(lambda skipped: "`" * len(skipped[0]), reply)):
        is_first_item = mark[0] == "[0]" and _AFTER_A_WORD.match(reply, mark.start())
        if is_first_item or mark.start() == index_end:
            index_end = mark.end()
        else:
            yield mark


def _numbers(mark: str, last: int) -> Iterator[int]:
    """Yield the numbers cited; of a range, its two ends and those up to the last passage."""
    for first, _, end in re.findall(r"(\d+)([ \t]*[–-][ \t]*(\d+))?", mark):
        yield int(first)
        if end:
            yield from range(int(first) + 1, min(int(end), last + 1))
            yield int(end)


def _without_marks(reply: str, marks: list[re.Match[str]]) -> str:
    """Return a text of the same length, with spaces for marks.

    A list's numbers and the marks at a line's start become hyphens, so that a sentence begins
    there; so do marks between the sentences of such a line.
    """
    text, starts, line_end = list(reply), set[int](), 0
    for line in _LINE_START.finditer(reply):
        starts.add(line.end())
        if any(map(str.isalnum, line[0])):
            text[line.start() : line.end()] = "-" * len(line[0])
    for mark in marks:
        begins = mark.start() in starts
        if begins:
            line_end = reply.find("\n", mark.end()) % (len(reply) + 1)  # -1: the reply's end
        elif mark.start() < line_end:
            begins = reply[mark.start() - 2 : mark.start()] in {". ", "! ", "? "}
        text[mark.start() : mark.end()] = ("-" if begins else " ") * len(mark[0])
    return "".join(text)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each sentence; what holds no word is part of the one before.

    In a paragraph, none ends after an abbreviation, or where a lower-case letter follows: of a
    claim that is too short, made-up figures would be missed.
    """
    bounds, has_word, checked = [0], False, 0
    for end in (*_SENTENCE_END.finditer(text), None):
        at = end.start() if end else len(text)
        has_word = has_word or bool(_WORD.search(text, checked, at))
        checked = end.end() if end else len(text)
        if end and end[0].count("\n") < 2:
            if text[checked : checked + 1].islower():
                continue
            if _ABBREVIATION.search(text, max(0, at - 9), at):
                continue
        if not has_word and len(bounds) > 1:
            bounds[-1] = checked
        elif has_word or not end:
            bounds.append(checked)
            has_word = False
    return pairwise(bounds)


def _states(part: str) -> bool:
    """Return whether a part of a sentence states something: a figure, or more than one word."""
    words = list(_words(part))
    if any(map(_is_figure, words)):
        return True
    return len(words) > 1 and any(word not in _COMMON for word in words)


def _tidy(claim: str) -> str:
    """Return a claim without marks around it, and without the spaces for marks in it."""
    claim = re.sub(
        r"(?<=\S)[ \t]++(?=[.,;:!?)、，；：。])|(?<=[ \t])[ \t]+", "", claim.replace("**", "")
    )
    return claim.rstrip(" \t\n(").strip(" \t\n*-/+&,;:、，；：。")


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
