"""Figures of a token shift analysis, as values."""

from __future__ import annotations

from dataclasses import dataclass

from urial_core.analysis.bootstrap import Estimate
from urial_core.analysis.token_shift.kinds import Kind

__all__ = ["Figures", "PositionCurve", "ShiftSummary", "ShiftedToken"]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a group of tokens.

    Attributes:
        group: The group: "all", "turn 2", "tokens 1-5", "stylistic" and so on.
        tokens: How many tokens it has.
        unshifted: Share of tokens that are the base model's most probable one.
        marginal: Share of tokens of rank 2 or 3 under the base model.
        shifted: Share of tokens of a higher rank.
        kl: Mean of KL(aligned || base), in nats; None where a server reports no whole
            distribution.
        probability: Mean probability of the tokens under the base model.
        rank: Geometric mean of the tokens' ranks under the base model.
    """

    group: str
    tokens: int
    unshifted: Estimate
    marginal: Estimate
    shifted: Estimate
    kl: Estimate | None
    probability: Estimate
    rank: Estimate


@dataclass(frozen=True, slots=True)
class PositionCurve:
    """A figure at each position of the answers, from the first token on.

    Attributes:
        measure: "kl", "probability" or "rank", as in ``Figures``.
        estimates: One for each position.
    """

    measure: str
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class ShiftedToken:
    """A token that is often shifted.

    Attributes:
        text: Its text.
        shifted: How many times it is shifted.
        tokens: How many times it occurs.
        rank: Geometric mean of its ranks where it is shifted.
        base_choice: What the base model would most often have written there.
        kind: What it mostly is.
    """

    text: str
    shifted: int
    tokens: int
    rank: float
    base_choice: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class ShiftSummary:
    """The figures of a token shift analysis.

    Attributes:
        base: The base model's name.
        aligned: The aligned side's name.
        questions: How many questions have an answer.
        answers: How many answers there are.
        failed: How many failed.
        cut: How many answers were cut at ``max_tokens``.
        groups: The figures of all tokens, then of groups of them; empty without answers.
        curves: The figures over position.
        shifted_tokens: The tokens that are most often shifted, the most frequent first.
    """

    base: str
    aligned: str
    questions: int
    answers: int
    failed: int
    cut: int
    groups: tuple[Figures, ...]
    curves: tuple[PositionCurve, ...]
    shifted_tokens: tuple[ShiftedToken, ...]
