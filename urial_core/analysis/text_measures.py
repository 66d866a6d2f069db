"""Measures of an answer that need no judge: pure functions of its text and what stood before it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from urial_core.analysis.answering import Answer
from urial_core.analysis.language import language_of

__all__ = ["MEASURES", "AnswerInContext", "Measure", "outside_code", "sentences", "words"]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+(?:['’-][^\W_]+)*")
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})(.*)")
_TURN = re.compile(
    r"\s*[#*_>\s]{0,8}(query|question|user|human|answer|assistant|ai|q)[*_\s]{0,4}:",
    re.IGNORECASE,
)
_LIST_ITEM = re.compile(r"\s*(?:\d{1,3}[.)]|[-*+•])\s+\S")
_BOLD = re.compile(r"\*\*(?=\S)[^*\n]+(?<=\S)\*\*|\b__(?=\S)[^_\n]+(?<=\S)__\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_LEAST_WORDS = 6
"""Words from which a sentence counts as copied: shorter ones recur by chance."""
_GRAM = 4


@dataclass(frozen=True, slots=True)
class AnswerInContext:
    """An answer with what it may repeat.

    Attributes:
        answer: The answer.
        prompt: The constant text before the conversation.
        earlier: The conversation's earlier replies, oldest first.
    """

    answer: Answer
    prompt: str = ""
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measure of answers.

    Attributes:
        name: Its name in files.
        title: Its name for readers.
        explanation: What it is, in a sentence.
        unit: "share" for values from 0 to 1, whose mean is a percentage; else "number".
        better: Whether "higher" or "lower" is better; empty where neither is.
        value: Returns its value for an answer; None where it does not apply.
    """

    name: str
    title: str
    explanation: str
    unit: Literal["share", "number"]
    better: Literal["higher", "lower", ""] = ""
    value: Callable[[AnswerInContext], float | None] = lambda _: None


def words(text: str) -> list[str]:
    """Return a text's words in lower case; each Chinese or Japanese character counts as one."""
    return [word.lower() for word in _WORD.findall(text)]


def outside_code(text: str) -> list[str]:
    """Return the lines of a text that are outside fenced code blocks."""
    return _without_code(text)[0]


def sentences(text: str) -> list[str]:
    """Return a text's sentences of six words or more, in lower case and without punctuation."""
    parts = (" ".join(words(part)) for part in _SENTENCE_END.split(text))
    return [part for part in parts if part.count(" ") >= _LEAST_WORDS - 1]


def _without_code(text: str) -> tuple[list[str], int, bool]:
    """Return the lines outside code blocks, how many blocks there are, and if the last is open.

    Fences are those of CommonMark: a block ends at a line with nothing but a fence of its kind that
    is at least as long.
    """
    lines, blocks, fence = list[str](), 0, ""
    for line in text.splitlines():
        found = _FENCE.fullmatch(line)
        mark, rest = found.groups() if found else ("", "")
        if fence:
            if mark.startswith(fence) and not rest.strip():
                fence = ""
        elif mark and not (mark[0] == "`" and "`" in rest):
            fence, blocks = mark, blocks + 1
        else:
            lines.append(line)
    return lines, blocks, bool(fence)


def ended(given: AnswerInContext) -> float | None:
    """Return whether the answer ended before the token limit; None if its end is unknown."""
    return float(given.answer.end != "length") if given.answer.end else None


def forged_turns(given: AnswerInContext) -> float:
    """Return whether a line outside code begins like another turn, such as ``Question:``."""
    return float(any(_TURN.match(line) for line in outside_code(given.answer.text)))


def repetition(given: AnswerInContext) -> float | None:
    """Return the share of four-word sequences that occurred before (Welleck et al. 2020, 6.1)."""
    own = words(given.answer.text)
    grams = list(zip(*(own[start:] for start in range(_GRAM)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else None


def length(given: AnswerInContext) -> float:
    """Return the number of words."""
    return len(words(given.answer.text))


def code_intact(given: AnswerInContext) -> float | None:
    """Return whether every code block is closed; None if there is none."""
    _, blocks, is_open = _without_code(given.answer.text)
    return float(not is_open) if blocks else None


def has_list(given: AnswerInContext) -> float:
    """Return whether there is a list of two items or more."""
    items = sum(bool(_LIST_ITEM.match(line)) for line in outside_code(given.answer.text))
    return float(items > 1)


def has_bold(given: AnswerInContext) -> float:
    """Return whether there is bold text."""
    return float(any(_BOLD.search(line) for line in outside_code(given.answer.text)))


def language_kept(given: AnswerInContext) -> float | None:
    """Return whether the answer is in the question's language; None if either is unclear."""
    asked = language_of(given.answer.query)
    answered = language_of("\n".join(outside_code(given.answer.text)))
    return float(asked == answered) if asked and answered else None


def copied_from_prompt(given: AnswerInContext) -> float | None:
    """Return the share of sentences that stand in the prompt; None without long sentences."""
    return _share_in(sentences(given.answer.text), sentences(given.prompt))


def copied_from_replies(given: AnswerInContext) -> float | None:
    """Return the share of sentences that stand in earlier replies; None in a first turn."""
    if not given.earlier:
        return None
    known = [sentence for reply in given.earlier for sentence in sentences(reply)]
    return _share_in(sentences(given.answer.text), known)


def _share_in(found: list[str], known: list[str]) -> float | None:
    if not found:
        return None
    counts, there = Counter(found), set(known)
    return sum(count for sentence, count in counts.items() if sentence in there) / len(found)


def _tokens(given: AnswerInContext) -> float | None:
    return given.answer.output_tokens


def _input_tokens(given: AnswerInContext) -> float | None:
    return given.answer.input_tokens


def _seconds(given: AnswerInContext) -> float:
    return given.answer.seconds


MEASURES = (
    Measure(
        name="ended",
        title="Ended by itself",
        explanation="Answers that ended before the token limit.",
        unit="share",
        better="higher",
        value=ended,
    ),
    Measure(
        name="forged_turns",
        title="Forged turns",
        explanation="Answers in which a line begins like another turn, such as “Question:”.",
        unit="share",
        better="lower",
        value=forged_turns,
    ),
    Measure(
        name="repetition",
        title="Repetition",
        explanation="Four-word sequences that occurred before in the same answer.",
        unit="share",
        better="lower",
        value=repetition,
    ),
    Measure(
        name="copied_from_prompt",
        title="Copied from the prompt",
        explanation="Sentences of six words or more that stand in the prompt's constant part.",
        unit="share",
        better="lower",
        value=copied_from_prompt,
    ),
    Measure(
        name="copied_from_replies",
        title="Copied from earlier replies",
        explanation="Sentences of six words or more that stand in the conversation's replies.",
        unit="share",
        better="lower",
        value=copied_from_replies,
    ),
    Measure(
        name="language_kept",
        title="Language kept",
        explanation="Answers in the question's language, where both can be told.",
        unit="share",
        better="higher",
        value=language_kept,
    ),
    Measure(
        name="code_intact",
        title="Code blocks intact",
        explanation="Of answers with code blocks, those in which each is closed.",
        unit="share",
        better="higher",
        value=code_intact,
    ),
    Measure(
        name="has_list",
        title="With a list",
        explanation="Answers with a list of two items or more.",
        unit="share",
        value=has_list,
    ),
    Measure(
        name="has_bold",
        title="With bold text",
        explanation="Answers with bold text.",
        unit="share",
        value=has_bold,
    ),
    Measure(
        name="words",
        title="Words",
        explanation="Length in words; each Chinese or Japanese character counts as one.",
        unit="number",
        value=length,
    ),
    Measure(
        name="output_tokens",
        title="Tokens of the answer",
        explanation="Tokens generated, as the model counts them.",
        unit="number",
        value=_tokens,
    ),
    Measure(
        name="input_tokens",
        title="Tokens of the prompt",
        explanation="Tokens of prompt and conversation, as the model counts them.",
        unit="number",
        better="lower",
        value=_input_tokens,
    ),
    Measure(
        name="seconds",
        title="Seconds",
        explanation="Time for an answer, while others were written at the same time.",
        unit="number",
        better="lower",
        value=_seconds,
    ),
)
"""The measures, in the order in which a report shows them."""
