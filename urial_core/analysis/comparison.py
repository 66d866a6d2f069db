"""Comparison: what several methods answered to the same questions, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from urial_core.analysis.answering import Answer, Key
from urial_core.analysis.judging import Scores, Verdict
from urial_core.analysis.questions import Question
from urial_core.analysis.summary import SummaryRow, Values
from urial_core.errors import MissingDependencyError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        output: The folder with its files.
        questions: What was asked.
        methods: Names of the methods, in order; the first one is the reference.
        answers: The answers, by method, question and turn; those that failed hold the error.
        values: The values of each answer, by the names of the measures that apply to it.
        summary: The means with their intervals.
        scores: A judge's scores of the answers; empty without a judge.
        verdicts: A judge's comparisons with the reference; empty without a judge.
    """

    output: Path
    questions: Sequence[Question]
    methods: Sequence[str]
    answers: Mapping[Key, Answer]
    values: Values
    summary: Sequence[SummaryRow]
    scores: Mapping[Key, Scores] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()

    @property
    def failed(self) -> int:
        """How many answers failed."""
        return sum(bool(answer.error) for answer in self.answers.values())

    @property
    def report(self) -> Path:
        """The report's file."""
        return self.output / "report.html"

    def dataframe(self) -> DataFrame:
        """Return the answers with their measures, a row each.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise MissingDependencyError("A dataframe needs pandas: pip install pandas") from error
        return DataFrame(
            {**asdict(answer), **self.values[key]} for key, answer in self.answers.items()
        )
