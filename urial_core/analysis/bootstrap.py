"""Bootstrap: means of answers with 95 % intervals, resampled by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Estimate", "column_means", "mean_difference", "mean_with_interval"]

_RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: The mean over all answers.
        low: The interval's lower end.
        high: The interval's upper end.
        count: How many answers it is over.
    """

    mean: float
    low: float
    high: float
    count: int


def mean_with_interval(values: Mapping[str, Sequence[float]]) -> Estimate | None:
    """Return the mean of values with its percentile bootstrap interval (Efron 1979).

    Questions are drawn with replacement, each with all its values: the turns of one conversation
    depend on one another. The same values always give the same interval.

    Args:
        values: The values of each question.

    Returns:
        The estimate; None if there are no values.
    """
    import numpy as np

    groups = [group for group in values.values() if len(group)]
    if not groups:
        return None
    sums = np.array([[sum(group)] for group in groups], dtype=np.float64)
    counts = np.array([[len(group)] for group in groups], dtype=np.float64)
    return column_means(sums, counts)[0]


def column_means(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> list[Estimate]:
    """Return the mean of each column with its interval, as ``mean_with_interval``.

    Args:
        sums: The sum of each question's values, [questions, columns]; at least one question.
        counts: How many values each has, [questions, columns]; some in each column.
    """
    import numpy as np

    drawn = _draws(len(sums))
    with np.errstate(invalid="ignore"):  # a resample in which a column has no value
        resampled = (drawn @ sums) / (drawn @ counts)
    ends = np.nanpercentile(resampled, _PERCENTILES, axis=0)
    totals = counts.sum(axis=0)
    columns = zip(sums.sum(axis=0) / totals, *ends, totals, strict=True)
    return [Estimate(float(m), float(low), float(high), int(n)) for m, low, high, n in columns]


def mean_difference(
    values: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float]]
) -> Estimate | None:
    """Return the mean difference, question by question, of two methods, with its interval.

    Args:
        values: The values of each question.
        others: Those to subtract. Questions with no value on one side are left out.

    Returns:
        The estimate over questions; None if no question has values on both sides.
    """
    differences = {
        question: [sum(group) / len(group) - sum(others[question]) / len(others[question])]
        for question, group in values.items()
        if len(group) and len(others.get(question, ()))
    }
    return mean_with_interval(differences)


@lru_cache(maxsize=4)
def _draws(count: int) -> NDArray[np.float64]:
    """Return how often each of ``count`` questions is drawn, a row for each resample."""
    import numpy as np

    generator = np.random.default_rng(0)
    draws = generator.multinomial(count, [1 / count] * count, size=_RESAMPLES)
    return draws.astype(np.float64)
