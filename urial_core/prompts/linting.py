"""Lint a prompt: what it holds, and where it departs from the recipe of Lin et al. 2024.

The recipe (section 3.2): constant examples, one of which declines a harmful request; each answer
first engages with the question, then explains in a structure that is easy to read, and ends with a
summary or an offer. Style is found by rules of thumb, which can be wrong; what is found is a hint.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from urial_core.completion import estimate_tokens
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt import Example, Prompt

__all__ = ["ExampleStyle", "Finding", "PromptLint", "Severity", "lint"]

Severity = Literal["warning", "note"]
"""A warning is most likely a mistake or a risk, a note something to know."""

LONG_PREFIX = 2048
"""Tokens of a prefix above which little of a small context window is left: the paper's K = 8."""

_MOST_EXAMPLES = 8
_LONGEST_CLOSING = 320
_LIST_OR_BOLD = re.compile(r"^\s*(?:[-*+•]|\d+[.)、．])\s|\*\*\S", re.MULTILINE)
_ITEM_OR_CODE = re.compile(r"\s*(?:[-*+•]\s|\d+[.)]\s|```|#|\|)")
_WORD = re.compile(r"[^\W\d_\u3040-\u9fff]{4,}|[\u30a0-\u30ff\u4e00-\u9fff]{2,}")
_GREETING = re.compile(
    r"\W*(?:hi|hello|hey|sure|of course|certainly|absolutely|great|thank|good question|sorry"
    r"|i'm sorry|congratulations|welcome|こんにちは|はい|もちろん|ありがとう)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)? ?(?:can ?not|can't|could ?n[o']t|won't|will not|wouldn't"
    r"|not able to|unable to|not going to|must decline|have to decline|need to decline|refuse)\b"
    r"|\b(?:can't|cannot|won't) (?:help|assist|provide|support)\b"
    r"|できません|できかねます|お断り|応じられません|お答えできません",
    re.IGNORECASE,
)
_HARM = re.compile(
    r"\b(?:harm|hurt|danger|crim|illegal|law|injur|death|safe|abus|violen|threat|hate|unethical"
    r"|dishonest|fraud|privacy)|害|危険|犯罪|違法|危ない",
    re.IGNORECASE,
)
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'"})
_REFUSAL_LANGUAGES = ("en", "ja")


@dataclass(frozen=True, slots=True)
class ExampleStyle:
    """Which features of the recipe an example has.

    Attributes:
        opening: Whether the answer's first sentence greets, or takes up a word of the question.
        structure: Whether the answer has a list or bold text.
        closing: Whether it ends with a short paragraph of its own, such as a summary or an offer.
        refusal: Whether it declines a harmful request: it says no, and names the harm.
        tokens: Tokens of both texts.
    """

    opening: bool
    structure: bool
    closing: bool
    refusal: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a prompt that its author should look at.

    Attributes:
        rule: The rule's name, such as "no-refusal".
        severity: How serious it is.
        message: What was found, and what to do.
    """

    rule: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class PromptLint:
    """What a prompt holds, and the findings about it.

    Attributes:
        prompt: The prompt's name.
        tokens: Tokens of its prefix.
        estimated: Whether tokens are estimates, since no tokenizer was given.
        examples: The style of each example.
        findings: The findings; warnings come first.
    """

    prompt: str
    tokens: int
    estimated: bool
    examples: tuple[ExampleStyle, ...]
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are warnings."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")


def lint(prompt: Prompt, count_tokens: Callable[[str], int] | None = None) -> PromptLint:
    """Look a prompt over.

    What would break a prompt's structure (such as a delimiter in an example) is an error already
    when it is loaded.

    Args:
        prompt: The prompt.
        count_tokens: Counts a text's tokens, as ``CompletionModel.count_tokens`` does. Default: an
            estimate.
    """
    count = count_tokens or estimate_tokens
    styles = tuple(_style(example, count) for example in prompt.examples)
    tokens = count(prompt.prefix)
    findings = [
        *_delimiters(prompt),
        *_pairs(prompt),
        *_safety(prompt, styles),
        *_size(prompt, tokens),
        *_recipe(styles),
    ]
    findings.sort(key=lambda finding: finding.severity != "warning")
    return PromptLint(prompt.name, tokens, count_tokens is None, styles, tuple(findings))


def _style(example: Example, count: Callable[[str], int]) -> ExampleStyle:
    answer = example.answer.strip().translate(_APOSTROPHES)
    paragraphs = [part for part in re.split(r"\n\s*\n", answer) if part.strip()]
    first = re.split(r"(?<=[.!?。！？])", paragraphs[0])[0] if paragraphs else ""
    last = paragraphs[-1] if len(paragraphs) > 1 else ""
    return ExampleStyle(
        opening=bool(_GREETING.match(answer) or _takes_up(first, example.query)),
        structure=bool(_LIST_OR_BOLD.search(answer)),
        closing=bool(last) and len(last) <= _LONGEST_CLOSING and not _ITEM_OR_CODE.match(last),
        refusal=bool(_REFUSAL.search(answer) and _HARM.search(answer)),
        tokens=count(example.query) + count(example.answer),
    )


def _takes_up(sentence: str, query: str) -> bool:
    """Whether a longer word of the sentence, in any form, stands in the query."""
    asked = query.lower()
    stems = (word[: max(4, len(word) - 3)].lower() for word in _WORD.findall(sentence))
    return any(stem in asked for stem in stems)


def _delimiters(prompt: Prompt) -> list[Finding]:
    headers = (prompt.format.query_header, prompt.format.answer_header)
    findings = list[Finding]()
    if prompt.verbatim is None and escape(prompt.instruction, prompt.format) != prompt.instruction:
        message = "A line of the instruction begins like a header or the fence: reword it."
        findings.append(Finding("delimiter-in-instruction", "warning", message))
    unnamed = [header for header in headers if header.strip("# :") not in prompt.instruction]
    if not prompt.instruction:
        message = "There is no instruction: the examples alone show what the assistant is."
        findings.append(Finding("no-instruction", "note", message))
    elif unnamed:
        message = f"Say in the instruction who writes under `{'` and `'.join(unnamed)}`."
        findings.append(Finding("header-not-named", "warning", message))
    return findings


def _pairs(prompt: Prompt) -> list[Finding]:
    findings = list[Finding]()
    queries = [" ".join(example.query.split()).casefold() for example in prompt.examples]
    for number, query in enumerate(queries):
        if (first := queries.index(query)) < number:
            message = f"Example {number + 1} asks the same as example {first + 1}: vary the topics."
            findings.append(Finding("same-query", "warning", message))
    for number, example in enumerate(prompt.examples, 1):
        for part, text in (("query", example.query), ("answer", example.answer)):
            if not text.strip():  # only in a file whose bytes are kept
                message = f"Example {number} has an empty {part}."
                findings.append(Finding("empty-text", "warning", message))
    return findings


def _safety(prompt: Prompt, styles: tuple[ExampleStyle, ...]) -> list[Finding]:
    if any(style.refusal for style in styles):
        return []
    if prompt.language.partition("-")[0] not in _REFUSAL_LANGUAGES:
        message = (
            f"Whether an example declines a harmful request cannot be told for the language "
            f"{prompt.language!r}: that example is a base model's whole safety layer."
        )
        return [Finding("refusal-unknown", "note", message)]
    message = (
        "No example declines a harmful request. It is a base model's whole safety layer: add one, "
        "or moderate questions and answers yourself."
    )
    return [Finding("no-refusal", "warning", message)]


def _size(prompt: Prompt, tokens: int) -> list[Finding]:
    findings = list[Finding]()
    count = len(prompt.examples)
    if not count:
        message = "There are no examples (zero-shot): three are recommended."
        findings.append(Finding("no-examples", "warning", message))
    elif count > _MOST_EXAMPLES:
        message = f"{count} examples: more than eight rarely help and take room in the window."
        findings.append(Finding("many-examples", "note", message))
    if tokens > LONG_PREFIX:
        message = f"The prefix has {tokens} tokens, which a small context window cannot spare."
        findings.append(Finding("long-prefix", "note", message))
    return findings


def _recipe(styles: tuple[ExampleStyle, ...]) -> list[Finding]:
    rules = (
        ("opening", "no-opening", "does not begin by engaging with the question"),
        ("structure", "no-structure", "has neither a list nor bold text"),
        ("closing", "no-closing", "does not end with a summary or an offer"),
    )
    findings = list[Finding]()
    for feature, rule, text in rules:
        missing = [str(n) for n, style in enumerate(styles, 1) if not getattr(style, feature)]
        if missing:
            where = f"example{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            message = f"The answer of {where} {text}: answers will follow it."
            findings.append(Finding(rule, "note", message))
    return findings
