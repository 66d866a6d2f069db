"""Stylistic and content tokens: which tokens of the answers belong to their topic.

A token is *stylistic* if it has no letter or digit (punctuation, markup, line breaks), or if the
word that it is part of stands in answers to many questions, so that it does not depend on the
topic: function words, greetings, discourse markers. Any other is a *content* token. Words are
compared without case; "many" is at least three questions and at least a tenth of them. This needs
no word list, and works in any language that separates words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from urial_core.analysis.token_shift.rows import AnswerShift, TokenShift

__all__ = ["KINDS", "Kind", "token_kinds"]

Kind = Literal["stylistic", "content", "end"]
"""What a token is: of the answer's style, of its topic, or a part of what ends it."""

KINDS: tuple[Kind, ...] = ("stylistic", "content", "end")

_LEAST_QUESTIONS = 3
_LEAST_SHARE = 0.1


def token_kinds(rows: Sequence[AnswerShift]) -> list[list[Kind]]:
    """Return the kind of each token of each answer."""
    words = [_words(row.tokens) for row in rows]
    questions = Counter(
        word for _, word in {(r.id, w) for r, found in zip(rows, words, strict=True) for w in found}
    )
    many = max(_LEAST_QUESTIONS, _LEAST_SHARE * len({row.id for row in rows}))
    return [
        [
            "end" if t.ends else "stylistic" if not word or questions[word] >= many else "content"
            for t, word in zip(row.tokens, found, strict=True)
        ]
        for row, found in zip(rows, words, strict=True)
    ]


def _words(tokens: Sequence[TokenShift]) -> list[str]:
    """Return the word that each token is part of, in lower case; empty for none.

    A word is a run of tokens with letters or digits; a token that begins with anything else, such
    as a space, begins another.
    """
    words = list[list[str]]()
    numbers = list[int]()
    open_word = False
    for token in tokens:
        letters = "".join(filter(str.isalnum, token.text)).lower()
        if not (open_word and token.text[:1].isalnum()):
            words.append([])
        words[-1].append(letters)
        numbers.append(len(words) - 1)
        open_word = token.text[-1:].isalnum()
    joined = ["".join(word) for word in words]
    return [joined[number] for number in numbers]
