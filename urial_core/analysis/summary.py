"""Summary: each method's means with intervals, for first and for later turns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

from urial_core.analysis.answering import Key
from urial_core.analysis.bootstrap import mean_difference, mean_with_interval

__all__ = ["SummaryRow", "Turns", "Values", "summarize", "summary_csv"]

Turns = Literal["first", "later"]
Values = Mapping[Key, Mapping[str, float]]
"""The values of each answer, by the names of the measures that apply to it."""


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A method's mean of one measure: a row of ``summary.csv``.

    Attributes:
        method: The method's name.
        turns: "first" for first turns, "later" for all others.
        measure: The measure's name.
        mean: The mean over answers.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end of the interval.
        answers: How many answers the measure applies to.
        difference: Mean difference from the reference method on the same questions; None for the
            reference itself.
        difference_low: Lower end of its interval.
        difference_high: Upper end of its interval.
    """

    method: str
    turns: Turns
    measure: str
    mean: float
    low: float
    high: float
    answers: int
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None

    @property
    def direction(self) -> Literal["above", "below", ""]:
        """Where it is in comparison with the reference; empty if the interval leaves it open."""
        if self.difference_low is None or self.difference_high is None:
            return ""
        if self.difference_low > 0:
            return "above"
        return "below" if self.difference_high < 0 else ""


def summarize(
    values: Values, methods: Sequence[str], measures: Sequence[str], reference: str
) -> list[SummaryRow]:
    """Return the means of all methods and measures that have values.

    Args:
        values: The values of each answer.
        methods: Names of the methods, in order.
        measures: Names of the measures, in order.
        reference: The method with which the others are compared.
    """
    turns: tuple[Turns, ...] = ("first", "later")
    rows = list[SummaryRow]()
    for group in turns:
        for measure in measures:
            reference_values = _by_question(values, reference, group, measure)
            for method in methods:
                own = _by_question(values, method, group, measure)
                mean = mean_with_interval(own)
                if mean is None:
                    continue
                row = SummaryRow(method, group, measure, mean.mean, mean.low, mean.high, mean.count)
                difference = mean_difference(own, reference_values)
                if method != reference and difference is not None:
                    row = SummaryRow(
                        *(method, group, measure, mean.mean, mean.low, mean.high, mean.count),
                        *(difference.mean, difference.low, difference.high),
                    )
                rows.append(row)
    return rows


def summary_csv(rows: Sequence[SummaryRow]) -> str:
    """Return the rows as CSV, with a header."""
    text = io.StringIO()
    names = [column.name for column in fields(SummaryRow)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = asdict(row).items()
        writer.writerow({name: round(v, 6) if isinstance(v, float) else v for name, v in cells})
    return text.getvalue()


def _by_question(values: Values, method: str, turns: Turns, measure: str) -> dict[str, list[float]]:
    found = dict[str, list[float]]()
    for (name, question, turn), own in values.items():
        if name == method and (turn == 1) == (turns == "first") and measure in own:
            found.setdefault(question, []).append(own[measure])
    return found
