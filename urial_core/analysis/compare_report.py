"""Compare report: a comparison as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from urial_core.analysis.answering import Answer
from urial_core.analysis.comparison import Comparison
from urial_core.analysis.judging import Verdict, verdict_of
from urial_core.analysis.measured import all_measures
from urial_core.analysis.plots import Interval, interval_plot
from urial_core.analysis.report_page import write_page
from urial_core.analysis.summary import SummaryRow
from urial_core.analysis.text_measures import Measure

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["FILTERS", "write_report"]

FILTERS = (
    ("Failed", "failed", 1.0, 1.0),
    ("Did not end by itself", "ended", 0.0, 0.0),
    ("Forged turns", "forged_turns", 1.0, 1.0),
    ("Repetition of 20 % or more", "repetition", 0.2, 1.0),
    ("Copied from the prompt", "copied_from_prompt", 1e-9, 1.0),
    ("Copied from earlier replies", "copied_from_replies", 1e-9, 1.0),
    ("Other language than the question", "language_kept", 0.0, 0.0),
    ("Code block left open", "code_intact", 0.0, 0.0),
    ("With a code block", "code_intact", 0.0, 1.0),
    ("Wins against the reference", "win", 1.0, 1.0),
    ("Loses against the reference", "loss", 1.0, 1.0),
    ("Judge failed", "judge_failed", 1.0, 1.0),
)
"""Filters of the answers: their title, a measure, and its least and greatest value."""

_SHOWN_VALUES = 3
"""Decimal places of values in the page's data."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A method's mean in the table."""

    mean: str
    interval: str
    answers: int
    mark: str
    verdict: str


@dataclass(frozen=True, slots=True)
class _Table:
    """The means of all methods, for first or for later turns: a row of cells for each measure."""

    title: str
    rows: list[tuple[Measure, list[_Cell | None]]]


def write_report(comparison: Comparison) -> None:
    """Write a comparison's page to its folder."""
    measures = [
        measure
        for measure in all_measures()
        if any(measure.name in own for own in comparison.values.values())
        and (measure.name != "failed" or comparison.failed)
    ]
    tables = [
        table
        for turns, title in (("first", "First turns"), ("later", "Later turns"))
        if (table := _table(comparison, measures, turns, title)).rows
    ]
    counts = [("method", len(comparison.methods)), ("question", len(comparison.questions))]
    write_page(
        comparison.report,
        "compare.html.jinja",
        title=", ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts),
        data=_data(comparison, measures),
        comparison=comparison,
        tables=tables,
        plots=_plots(comparison, measures),
        judged=bool(comparison.scores),
        several_turns=len(tables) > 1,
    )


def _table(comparison: Comparison, measures: Sequence[Measure], turns: str, title: str) -> _Table:
    found = {(row.method, row.measure): row for row in comparison.summary if row.turns == turns}
    rows = list[tuple[Measure, list[_Cell | None]]]()
    for measure in measures:
        own = [found.get((method, measure.name)) for method in comparison.methods]
        if any(own):
            rows.append((measure, [_cell(row, measure) if row else None for row in own]))
    return _Table(title, rows)


def _cell(row: SummaryRow, measure: Measure) -> _Cell:
    mark = {"above": "▲", "below": "▼", "": ""}[row.direction]
    good = {"above": "higher", "below": "lower", "": ""}[row.direction]
    verdict = "" if not mark or not measure.better else "good" if good == measure.better else "bad"
    share = measure.unit == "share"
    low, high = written(row.low, share=share), written(row.high, share=share)
    interval = f"{low.removesuffix(' %')} to {high}"
    return _Cell(written(row.mean, share=share), interval, row.answers, mark, verdict)


def written(value: float, *, share: bool) -> str:
    """Return a value for readers: a share in percent, another number with three digits."""
    if share:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def _plots(comparison: Comparison, measures: Sequence[Measure]) -> list[tuple[Measure, Markup]]:
    plots = list[tuple[Measure, "Markup"]]()
    for measure in measures:
        rows = [row for row in comparison.summary if row.measure == measure.name]
        if len(comparison.methods) < 2 or not any(row.high for row in rows):
            continue
        share = measure.unit == "share"
        intervals = [
            Interval(
                row.method,
                row.mean,
                row.low,
                row.high,
                comparison.methods.index(row.method),
                row.turns == "later",
                f"{row.method}, {row.turns} turns: {written(row.mean, share=share)}, "
                f"{written(row.low, share=share)} to {written(row.high, share=share)}, "
                f"{row.answers} answers",
            )
            for row in rows
        ]
        described = f"{measure.title} of each method, with 95 % intervals"
        plot = interval_plot(intervals, description=described, percent=share)
        plots.append((measure, plot))
    return plots


def _data(comparison: Comparison, measures: Sequence[Measure]) -> dict[str, Any]:
    values = comparison.values.values()
    pairs = dict[tuple[str, str, int], list[Verdict]]()
    for verdict in comparison.verdicts:
        pairs.setdefault((verdict.method, verdict.question, verdict.turn), []).append(verdict)

    def answer_data(answer: Answer) -> dict[str, Any]:
        own = comparison.values[answer.key]
        data: dict[str, Any] = {
            "text": answer.text,
            "end": answer.end,
            "error": answer.error,
            "values": [
                round(own[m.name], _SHOWN_VALUES) if m.name in own else None for m in measures
            ],
        }
        if answer.key in comparison.scores:
            scored = comparison.scores[answer.key]
            data["judge"] = {"reasons": scored.reasons, "error": scored.error}
        if pair := pairs.get(answer.key):
            data["verdict"] = verdict_of(pair) or "failed"
            data["verdict_reasons"] = [verdict.reason or verdict.error for verdict in pair]
        return data

    return {
        "methods": list(comparison.methods),
        "measures": [
            {"name": m.name, "title": m.title, "unit": m.unit, "explanation": m.explanation}
            for m in measures
        ],
        "filters": [
            {"title": title, "measure": measure, "low": low, "high": high}
            for title, measure, low, high in FILTERS
            if any(low <= own.get(measure, -1.0) <= high for own in values)
        ],
        "questions": [
            {
                "id": question.id,
                "turns": [
                    {
                        "query": query,
                        "answers": [
                            answer_data(comparison.answers[method, question.id, turn])
                            for method in comparison.methods
                        ],
                    }
                    for turn, query in enumerate(question.turns, 1)
                ],
            }
            for question in comparison.questions
        ],
    }
