"""The report page of a token shift analysis."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

from markupsafe import Markup

from urial_core.analysis.plots import Curve, line_plot
from urial_core.analysis.report_page import write_page
from urial_core.analysis.token_shift.figures import PositionCurve, ShiftSummary
from urial_core.analysis.token_shift.kinds import KINDS, token_kinds
from urial_core.analysis.token_shift.rows import AnswerShift, TokenShift

__all__ = ["PAPER_SHARES", "write_report"]

PAPER_SHARES = (
    ("Llama-2-7b → Llama-2-7b-chat", 0.777, 0.145, 0.078),
    ("Llama-2-7b → Vicuna-7b-v1.5", 0.824, 0.128, 0.048),
    ("Mistral-7b → Mistral-7b-instruct", 0.822, 0.125, 0.052),
)
"""Shares of unshifted, marginal and shifted tokens in Lin et al. 2024, section 2."""

_PLOTS = {
    "kl": ("KL divergence", "KL(aligned || base), in nats", 0.0, None),
    "probability": ("Base probability", "Probability under the base model", 0.0, 1.0),
    "rank": ("Base rank", "Rank under the base model, geometric mean", 1.0, None),
}
"""Of each curve: title, what the vertical axis is, and where that begins and ends."""


def write_report(path: Path, rows: Sequence[AnswerShift], summary: ShiftSummary) -> None:
    """Write the page.

    Raises:
        AnalysisError: The file cannot be written.
    """
    write_page(
        path,
        "token_shift.html.jinja",
        title=f"Token shift: {summary.aligned} against {summary.base}",
        data=_data(rows),
        summary=summary,
        paper=PAPER_SHARES,
        plots=[_plot(curve) for curve in summary.curves],
        failed=[row for row in rows if row.error],
    )


def _plot(curve: PositionCurve) -> dict[str, str | Markup]:
    title, note, y_from, y_to = _PLOTS[curve.measure]
    estimates = curve.estimates
    drawn = Curve(
        title,
        x=range(1, len(estimates) + 1),
        y=[estimate.mean for estimate in estimates],
        low=[estimate.low for estimate in estimates],
        high=[estimate.high for estimate in estimates],
    )
    svg = line_plot(
        [drawn],
        description=f"{title} over token position",
        x_label="token",
        y_from=y_from,
        y_to=y_to,
    )
    return {"title": title, "note": note, "svg": svg}


def _data(rows: Sequence[AnswerShift]) -> dict[str, Any]:
    """Return the answers as the page's script reads them, each text of a token held once.

    A token is ``[text, rank, probability, aligned rank, aligned probability, kl, kind, base top,
    aligned top]``: texts are numbers of ``texts``, probabilities are in thousandths, ``kl`` is in
    hundredths or null, and a top is ``[text, probability, ...]`` without those below a thousandth.
    """
    texts = dict[str, int]()

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def top(choices: Sequence[tuple[str, float]]) -> list[int]:
        shown = [(text, _thousandths(logprob)) for text, logprob in choices]
        return [part for text, share in shown if share for part in (number(text), share)]

    def packed(token: TokenShift, kind: str) -> list[Any]:
        return [
            number(token.text),
            token.rank,
            _thousandths(token.logprob),
            token.aligned_rank,
            _thousandths(token.aligned_logprob),
            None if token.kl is None else round(token.kl * 100),
            KINDS.index(kind),
            top(token.top),
            top(token.aligned_top),
        ]

    answers = [row for row in rows if not row.error]
    packed_answers = [
        {
            "id": row.id,
            "turn": row.turn,
            "question": row.question,
            "end": row.end_reason,
            "tokens": [packed(t, kind) for t, kind in zip(row.tokens, kinds, strict=True)],
        }
        for row, kinds in zip(answers, token_kinds(answers), strict=True)
    ]
    return {"answers": packed_answers, "texts": list(texts), "kinds": KINDS}


def _thousandths(logprob: float) -> int:
    return round(1000 * exp(logprob))
