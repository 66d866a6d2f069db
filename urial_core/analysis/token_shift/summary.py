"""Figures of a token shift analysis: shares, curves over position, and the most shifted tokens.

Tokens of one question are not independent, so intervals come from resampling questions (bootstrap):
95 % of 2,000 resamples lie within.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, exp, log
from pathlib import Path
from typing import Any

import numpy as np

from urial_core.analysis.text_files import write_text
from urial_core.analysis.token_shift.figures import (
    Estimate,
    Figures,
    PositionCurve,
    ShiftedToken,
    ShiftSummary,
)
from urial_core.analysis.token_shift.kinds import KINDS, Kind, token_kinds
from urial_core.analysis.token_shift.rows import CATEGORIES, AnswerShift, TokenShift

__all__ = ["EARLY_TOKENS", "summarize", "write_csv"]

EARLY_TOKENS = 5
"""Tokens at an answer's start that are counted apart, since most shifts are there."""

_RESAMPLES = 2000
_LEAST_ANSWERS = 3
_LEAST_SHARE = 0.1
"""A curve ends where fewer answers than this number and this share are that long."""
_MOST_TOKENS = 40
"""How many of the most shifted tokens are listed."""

_MEASURES = (*CATEGORIES, "kl", "probability", "rank")


def summarize(rows: Iterable[AnswerShift], *, base: str, aligned: str) -> ShiftSummary:
    """Compute the figures of an analysis's rows.

    Args:
        rows: The rows; those of answers that failed are counted only.
        base: The base model's name.
        aligned: The aligned side's name.
    """
    rows = list(rows)
    answers = [row for row in rows if not row.error]
    kinds = token_kinds(answers)
    bootstrap = _Bootstrap([row.id for row in answers])
    return ShiftSummary(
        base=base,
        aligned=aligned,
        questions=len({row.id for row in answers}),
        answers=len(answers),
        failed=len(rows) - len(answers),
        cut=sum(row.end_reason == "length" for row in answers),
        groups=tuple(
            _figures(name, groups, bootstrap) for name, groups in _groups(answers, kinds).items()
        ),
        curves=_curves(answers, bootstrap),
        shifted_tokens=_shifted_tokens(answers, kinds),
    )


def write_csv(path: Path, summary: ShiftSummary) -> None:
    """Write the groups' figures: the ends of each interval follow its estimate.

    Raises:
        AnalysisError: The file cannot be written.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{name}{end}" for name in _MEASURES for end in ("", "_low", "_high")]
    writer.writerow(["group", "tokens", *columns])
    for figures in summary.groups:
        estimates: list[Estimate] = [getattr(figures, name) for name in _MEASURES]
        values = [f"{v:.6g}" for e in estimates for v in (e.value, e.low, e.high)]
        writer.writerow([figures.group, figures.tokens, *values])
    write_text(path, file.getvalue())


def _groups(
    answers: Sequence[AnswerShift], kinds: Sequence[Sequence[Kind]]
) -> Mapping[str, list[list[TokenShift]]]:
    """Return groups of tokens: for each, the tokens of each answer; empty groups are left out."""
    groups = {"all": [list(row.tokens) for row in answers]}
    turns = sorted({row.turn for row in answers})
    for turn in turns if len(turns) > 1 else ():
        groups[f"turn {turn}"] = [list(r.tokens) if r.turn == turn else [] for r in answers]
    groups[f"tokens 1-{EARLY_TOKENS}"] = [list(row.tokens[:EARLY_TOKENS]) for row in answers]
    groups[f"tokens {EARLY_TOKENS + 1}-"] = [list(row.tokens[EARLY_TOKENS:]) for row in answers]
    for kind in KINDS:
        groups[kind] = [
            [token for token, found in zip(row.tokens, of_row, strict=True) if found == kind]
            for row, of_row in zip(answers, kinds, strict=True)
        ]
    return {name: tokens for name, tokens in groups.items() if any(tokens)}


def _measures(token: TokenShift) -> list[float]:
    """Return a token's ``_MEASURES``; of its rank, the logarithm."""
    categories = [float(token.category == category) for category in CATEGORIES]
    return [*categories, token.kl, token.probability, log(token.rank)]


def _figures(group: str, answers: Sequence[Sequence[TokenShift]], bootstrap: _Bootstrap) -> Figures:
    none = [0.0] * len(_MEASURES)
    sums = np.array([np.sum([_measures(t) for t in tokens] or [none], 0) for tokens in answers])
    counts = np.array([len(tokens) for tokens in answers], float)
    estimates = bootstrap.ratios(sums, counts[:, None])
    named: dict[str, Any] = dict(zip(_MEASURES, estimates, strict=True))
    return Figures(group, int(counts.sum()), **{**named, "rank": _exponential(named["rank"])})


def _curves(answers: Sequence[AnswerShift], bootstrap: _Bootstrap) -> tuple[PositionCurve, ...]:
    needed = ceil(max(_LEAST_ANSWERS, _LEAST_SHARE * len(answers)))
    lengths = np.array([len(row.tokens) for row in answers], int)
    length = int(np.sort(lengths)[-needed]) if len(answers) >= needed else 0
    present = (np.arange(length) < lengths[:, None]).astype(float)
    curves = list[PositionCurve]()
    for number, name in list(enumerate(_MEASURES))[len(CATEGORIES) :] if length else ():
        values = np.zeros((len(answers), length))
        for row, answer in zip(values, answers, strict=True):
            tokens = answer.tokens[:length]
            row[: len(tokens)] = [_measures(token)[number] for token in tokens]
        estimates = bootstrap.ratios(values, present)
        if name == "rank":
            estimates = [_exponential(estimate) for estimate in estimates]
        curves.append(PositionCurve(name, tuple(estimates)))
    return tuple(curves)


def _shifted_tokens(
    answers: Sequence[AnswerShift], kinds: Sequence[Sequence[Kind]]
) -> tuple[ShiftedToken, ...]:
    occurrences = Counter(token.text for row in answers for token in row.tokens)
    shifted = defaultdict[str, list[tuple[TokenShift, Kind]]](list)
    for row, of_row in zip(answers, kinds, strict=True):
        for token, kind in zip(row.tokens, of_row, strict=True):
            if token.category == "shifted":
                shifted[token.text].append((token, kind))
    most = sorted(shifted.items(), key=lambda item: -len(item[1]))[:_MOST_TOKENS]
    return tuple(
        ShiftedToken(
            text=text,
            shifted=len(found),
            tokens=occurrences[text],
            rank=exp(sum(log(token.rank) for token, _ in found) / len(found)),
            base_choice=Counter(token.top[0][0] for token, _ in found).most_common(1)[0][0],
            kind=Counter(kind for _, kind in found).most_common(1)[0][0],
        )
        for text, found in most
    )


def _exponential(estimate: Estimate) -> Estimate:
    return Estimate(exp(estimate.value), exp(estimate.low), exp(estimate.high))


class _Bootstrap:
    """Resamples the questions of answers."""

    def __init__(self, questions: Sequence[str]) -> None:
        """Take the question's id of each answer."""
        numbers = {question: number for number, question in enumerate(dict.fromkeys(questions))}
        self._question = np.array([numbers[question] for question in questions], int)
        self._count = count = len(numbers)
        # How many times each question is in a resample: [resamples, questions].
        self._weights = np.random.default_rng(0).multinomial(
            count, np.full(max(count, 1), 1 / max(count, 1)), _RESAMPLES
        )

    def ratios(
        self, numerators: np.ndarray[Any, Any], denominators: np.ndarray[Any, Any]
    ) -> list[Estimate]:
        """Return the ratio of both sums, with its interval, for each column.

        Args:
            numerators: [answers, columns].
            denominators: [answers, columns or 1].
        """
        above, below = (self._by_question(values) for values in (numerators, denominators))
        values = above.sum(0) / below.sum(0)
        with np.errstate(invalid="ignore"):  # a resample without any token of the group
            resampled = (self._weights @ above) / (self._weights @ below)
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
        return [Estimate(*map(float, one)) for one in zip(values, low, high, strict=True)]

    def _by_question(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        sums = np.zeros((self._count, values.shape[1]))
        np.add.at(sums, self._question, values)
        return sums
