"""Bootstrap intervals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")

from urial_core.analysis.bootstrap import mean_difference, mean_with_interval

VALUES = st.dictionaries(
    st.text(max_size=3), st.lists(st.floats(-100, 100), min_size=1, max_size=3), min_size=1
)


@given(VALUES)
def test_the_mean_is_exact(values: dict[str, list[float]]) -> None:
    """The mean is that of all values, and the interval lies within their range."""
    numbers = [number for group in values.values() for number in group]
    found = mean_with_interval(values)
    assert found is not None
    assert found.count == len(numbers)
    assert found.mean == pytest.approx(sum(numbers) / len(numbers), abs=1e-9)
    assert min(numbers) - 1e-9 <= found.low <= found.high <= max(numbers) + 1e-9


@given(VALUES)
def test_intervals_are_repeatable(values: dict[str, list[float]]) -> None:
    """The same values give the same interval."""
    assert mean_with_interval(values) == mean_with_interval(values)


def test_no_values() -> None:
    """Without values there is no mean."""
    assert mean_with_interval({}) is None
    assert mean_with_interval({"a": []}) is None
    assert mean_difference({"a": [1.0]}, {"b": [1.0]}) is None


def test_coverage() -> None:
    """An interval for 60 fair coins holds the truth about 95 times in 100."""
    drawn = random.Random(1)  # noqa: S311 - coins
    hits = 0
    for _ in range(200):
        found = mean_with_interval({str(n): [float(drawn.random() < 0.5)] for n in range(60)})
        assert found is not None
        hits += found.low <= 0.5 <= found.high
    assert 180 <= hits <= 199


def test_turns_of_a_conversation_stay_together() -> None:
    """Answers of one question vary together, so copies of them do not narrow the interval."""
    once = {str(n): [float(n % 2)] for n in range(20)}
    twice = {name: group * 2 for name, group in once.items()}
    first, second = mean_with_interval(once), mean_with_interval(twice)
    assert first is not None
    assert second is not None
    assert (first.low, first.high) == (second.low, second.high)


def test_differences_are_paired() -> None:
    """A constant difference on each question has no spread, however much the questions differ."""
    values = {str(n): [float(n)] for n in range(30)}
    others = {name: [group[0] - 1] for name, group in values.items()} | {"more": [7.0]}
    found = mean_difference(values, others)
    assert found is not None
    assert (found.mean, found.low, found.high, found.count) == (1, 1, 1, 30)
