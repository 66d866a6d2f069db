"""The lines of a text template: labels, marks, and what a label's words say.

A label stands at the start of a line and ends in a colon (``Question:``); a mark is a whole line
(``<Output>``, ``## Question``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

__all__ = ["Line", "is_asking", "is_given", "is_question", "labels_of_paragraphs", "normalised"]

_LABEL = re.compile(
    r"(?P<start>[ \t]*(?P<label>(?:>>> ?)?\[?[^\W\d_][^\s:\uff1a]*"
    r"(?: [^\s:\uff1a]+){0,5})[ \u00a0\u202f]?[:\uff1a])(?!//|\d)(?P<rest>.*)"
)
_MARK = re.compile(
    r"<[^<>/]{1,60}>|<<.{1,60}>>|\[[^\[\]]{1,60}\]|#{1,6} .{1,60}|[A-Z][A-Z _]{2,40}"
)
"""A whole line that is a label without a colon: a tag, a heading, capitals."""
_CODE_LINE = re.compile(
    r"\s*(?:async |(?:def|class|if|elif|else|for|while|with|try|except|finally|match|case)\b).*:"
    r"|.*\w\(.*"
)
"""A line of code, which may end in a colon, too."""
_GIVEN = re.compile(
    r"(?:.* )?(?:questions?|query|context|input|observation|passage|human|user|response"
    r"|conversation|excerpt|text|q)"
    r"|(?:(?:chat|conversation|full|previous|user|follow|current|critique) (?:.* )?)?"
    r"(?:information|documents?|instructions?|task|message|topic|request|claim|history)"
    r"|(?:original|existing|current|previous|reference|student|true|generated|expert|submitted) "
    r".*(?:answer|summary|response|output|result|evaluation|score|reasoning|assertion|solution).*"
)
"""Labels, in lower case, of what a model is given; documents seldom have such labels themselves."""
_ASKING = re.compile(r"(?:.* )?(?:questions?|query|q|human|user|input|instruction)")
"""Labels, in lower case, of a question or an instruction, which the text below it answers."""


def normalised(text: str) -> str:
    """Return the text with every number as 0."""
    return re.sub(r"\d+", "0", text)


@dataclass(slots=True)
class Line:
    """A line of a template, with its label, if it has one.

    Attributes:
        text: The line, without whitespace at its end.
        label: Its label, normalised, without indentation and colon; a mark is its own label.
        start: The label as the line has it, with indentation and colon (``Question :``).
        rest: What follows the label.
        is_mark: Whether the line is a mark.
    """

    text: str
    label: str = ""
    start: str = ""
    rest: str = ""
    is_mark: bool = False

    @property
    def is_empty_label(self) -> bool:
        """Whether nothing follows the label."""
        return bool(self.label) and not self.is_mark and not self.rest.strip("\"'")

    @classmethod
    def of(cls, text: str) -> Line:
        """Return a line of a text."""
        text = text.rstrip()
        found = _LABEL.fullmatch(text)
        if _MARK.fullmatch(text) and not (found and text.startswith("[")):
            return cls(text, normalised(text), is_mark=True)
        if found is None or _CODE_LINE.fullmatch(text):
            return cls(text)
        return cls(text, normalised(found["label"]), found["start"], found["rest"].strip())


def is_given(label: str) -> bool:
    """Return whether a label's words say that it is of something given to the model."""
    words = _words(label)
    is_own = words.split(" ")[0] == "action"  # an agent's "Action Input:"
    return not is_own and bool(_GIVEN.fullmatch(words))


def is_asking(label: str) -> bool:
    """Return whether a label's words say that it is of a question or an instruction."""
    return bool(_ASKING.fullmatch(_words(label)))


def is_question(block: Sequence[str]) -> bool:
    """Return whether labels end with what is asked: it stands once, unlike a chat's speaker."""
    return bool(block) and is_asking(block[-1]) and block.count(block[-1]) == 1


def _words(label: str) -> str:
    """Return a label's words in lower case, without what is in brackets."""
    return " ".join(re.findall(r"[^\W\d_]+", label.lower().partition("(")[0]))


def labels_of_paragraphs(lines: Iterable[Line]) -> list[list[str]]:
    """Return the labels in each paragraph, each once: the lines between blank ones."""
    paragraphs = groupby(lines, key=lambda line: bool(line.text.strip()))
    return [
        list(dict.fromkeys(line.label for line in one if line.label))
        for is_text, one in paragraphs
        if is_text
    ]
