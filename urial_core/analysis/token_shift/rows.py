"""Rows of a token shift analysis: answers and, for each token, what both sides predict."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Literal

__all__ = ["CATEGORIES", "AnswerShift", "Category", "TokenShift", "rounded"]

Category = Literal["unshifted", "marginal", "shifted"]
"""By the token's rank under the base model: 1, 2 to 3, or above (Lin et al. 2024, section 2)."""

CATEGORIES: tuple[Category, ...] = ("unshifted", "marginal", "shifted")

_NO_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot hold, as in the OpenAI API."""


@dataclass(frozen=True, slots=True)
class TokenShift:
    """A token of an answer.

    Attributes:
        id: The token's id.
        text: Its text; empty where a later token completes the character.
        rank: Its rank under the base model: 1 for the most probable token.
        logprob: Its natural log-probability under the base model.
        aligned_rank: Its rank under the aligned side: 1, but for penalties and rounding.
        aligned_logprob: Its log-probability there.
        kl: KL(aligned || base) of the distributions at its position, in nats; None from a server,
            which reports no whole distribution.
        top: The base model's five most probable tokens with their log-probabilities, best first.
        aligned_top: The aligned side's.
        ends: Whether it is part of the answer's end: an end-of-text token, or the delimiter.
    """

    id: int
    text: str
    rank: int
    logprob: float
    aligned_rank: int
    aligned_logprob: float
    kl: float | None
    top: tuple[tuple[str, float], ...]
    aligned_top: tuple[tuple[str, float], ...]
    ends: bool = False

    @property
    def category(self) -> Category:
        """How far the token is from the base model's own choice."""
        return CATEGORIES[(self.rank > 1) + (self.rank > 3)]

    @property
    def probability(self) -> float:
        """The token's probability under the base model."""
        return exp(self.logprob)


@dataclass(frozen=True, slots=True)
class AnswerShift:
    """An answer of the aligned side, or the error that came instead.

    Attributes:
        id: The question's id.
        turn: Which of its turns is answered, from 1.
        question: The user's message.
        answer: The answer's text; empty if it failed.
        end_reason: Why it ended: "delimiter", "end_of_text" or "length"; empty if it failed.
        tokens: Its tokens, those that end it included.
        error: Why there is none; empty if there is one.
    """

    id: str
    turn: int
    question: str
    answer: str = ""
    end_reason: str = ""
    tokens: tuple[TokenShift, ...] = ()
    error: str = ""


def rounded(value: float) -> float:
    """Return a log-probability or a divergence as rows hold it."""
    return round(max(value, _NO_LOGPROB), 6)
