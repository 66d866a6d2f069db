"""Figures of a token shift analysis: shares, curves over position, and the most shifted tokens.

Tokens of one question are not independent, so intervals come from resampling questions
(``urial_core.analysis.bootstrap``).
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
from numpy.typing import NDArray

from urial_core.analysis.bootstrap import Estimate, column_means
from urial_core.analysis.text_files import write_text
from urial_core.analysis.token_shift.figures import (
    Figures,
    PositionCurve,
    ShiftedToken,
    ShiftSummary,
)
from urial_core.analysis.token_shift.kinds import KINDS, Kind, token_kinds
from urial_core.analysis.token_shift.rows import CATEGORIES, AnswerShift, TokenShift

__all__ = ["summarize", "write_csv"]

_EARLY_TOKENS = 5
"""Tokens at an answer's start that are counted apart, since most shifts are there."""

_LEAST_ANSWERS = 3
_LEAST_SHARE = 0.1
"""A curve ends where fewer answers than this number and this share are that long."""
_MOST_TOKENS = 40
"""How many of the most shifted tokens are listed."""

_MEASURES = (*CATEGORIES, "kl", "probability", "rank")
"""Of each token; there is no ``kl`` of those that a server scored."""


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
    numbers = {id_: number for number, id_ in enumerate(dict.fromkeys(row.id for row in answers))}
    questions = [numbers[row.id] for row in answers]
    return ShiftSummary(
        base=base,
        aligned=aligned,
        questions=len(numbers),
        answers=len(answers),
        failed=len(rows) - len(answers),
        cut=sum(row.end_reason == "length" for row in answers),
        groups=tuple(
            _figures(name, groups, questions) for name, groups in _groups(answers, kinds).items()
        ),
        curves=_curves(answers, questions),
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
        estimates: list[Estimate | None] = [getattr(figures, name) for name in _MEASURES]
        values = [cell for estimate in estimates for cell in _cells(estimate)]
        writer.writerow([figures.group, figures.tokens, *values])
    write_text(path, file.getvalue())


def _cells(estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return ["", "", ""]
    return [f"{value:.6g}" for value in (estimate.mean, estimate.low, estimate.high)]


def _groups(
    answers: Sequence[AnswerShift], kinds: Sequence[Sequence[Kind]]
) -> Mapping[str, list[list[TokenShift]]]:
    """Return groups of tokens: for each, the tokens of each answer; empty groups are left out."""
    groups = {"all": [list(row.tokens) for row in answers]}
    turns = sorted({row.turn for row in answers})
    for turn in turns if len(turns) > 1 else ():
        groups[f"turn {turn}"] = [list(r.tokens) if r.turn == turn else [] for r in answers]
    groups[f"tokens 1-{_EARLY_TOKENS}"] = [list(row.tokens[:_EARLY_TOKENS]) for row in answers]
    groups[f"tokens {_EARLY_TOKENS + 1}-"] = [list(row.tokens[_EARLY_TOKENS:]) for row in answers]
    for kind in KINDS:
        groups[kind] = [
            [token for token, found in zip(row.tokens, of_row, strict=True) if found == kind]
            for row, of_row in zip(answers, kinds, strict=True)
        ]
    return {name: tokens for name, tokens in groups.items() if any(tokens)}


def _measures_of(answers: Sequence[Sequence[TokenShift]]) -> tuple[str, ...]:
    """Return the ``_MEASURES`` that all tokens have."""
    whole = all(token.kl is not None for tokens in answers for token in tokens)
    return _MEASURES if whole else tuple(name for name in _MEASURES if name != "kl")


def _measured(token: TokenShift, name: str) -> float:
    """Return one of a token's measures; of its rank, the logarithm."""
    match name:
        case "kl":
            return token.kl or 0.0
        case "probability":
            return token.probability
        case "rank":
            return log(token.rank)
    return float(token.category == name)


def _figures(
    group: str, answers: Sequence[Sequence[TokenShift]], questions: Sequence[int]
) -> Figures:
    names = _measures_of(answers)
    measured = [
        [[_measured(token, name) for name in names] for token in tokens] for tokens in answers
    ]
    none = np.zeros(len(names))
    sums = np.array([np.sum(values, axis=0) if values else none for values in measured])
    counts = np.array([[len(tokens)] * len(names) for tokens in answers], float)
    estimates = column_means(_by_question(sums, questions), _by_question(counts, questions))
    named: dict[str, Any] = {"kl": None, **dict(zip(names, estimates, strict=True))}
    tokens = sum(map(len, answers))
    return Figures(group, tokens, **{**named, "rank": _exponential(named["rank"])})


def _curves(answers: Sequence[AnswerShift], questions: Sequence[int]) -> tuple[PositionCurve, ...]:
    needed = ceil(max(_LEAST_ANSWERS, _LEAST_SHARE * len(answers)))
    if len(answers) < needed:
        return ()
    lengths = np.array([len(row.tokens) for row in answers], int)
    length = int(np.sort(lengths)[-needed])
    present = _by_question((np.arange(length) < lengths[:, None]).astype(float), questions)
    curves = list[PositionCurve]()
    for name in _measures_of([row.tokens for row in answers])[len(CATEGORIES) :]:
        values = np.zeros((len(answers), length))
        for row, answer in zip(values, answers, strict=True):
            tokens = answer.tokens[:length]
            row[: len(tokens)] = [_measured(token, name) for token in tokens]
        estimates = column_means(_by_question(values, questions), present)
        if name == "rank":
            estimates = [_exponential(estimate) for estimate in estimates]
        curves.append(PositionCurve(name, tuple(estimates)))
    return tuple(curves)


def _by_question(values: NDArray[np.float64], questions: Sequence[int]) -> NDArray[np.float64]:
    """Add up the rows of each question's answers."""
    sums = np.zeros((max(questions) + 1, values.shape[1]))
    np.add.at(sums, list(questions), values)
    return sums


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
    return Estimate(exp(estimate.mean), exp(estimate.low), exp(estimate.high), estimate.count)
