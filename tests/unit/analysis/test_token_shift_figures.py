"""Categories, kinds of tokens, figures with intervals, and what the report holds."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core.analysis.token_shift import AnswerShift, TokenShift
from urial_core.analysis.token_shift.kinds import token_kinds
from urial_core.analysis.token_shift.report import write_report
from urial_core.analysis.token_shift.summary import summarize, write_csv


def token(text: str, rank: int = 1, *, logprob: float = -0.5, ends: bool = False) -> TokenShift:
    """Return a token of a given rank."""
    top = (("x", -0.1), (text, -2.5), ("</script>", -9.0))
    return TokenShift(7, text, rank, logprob, 1, -0.1, 0.25, top, top[:1], ends)


def answer(name: str, *tokens: TokenShift, turn: int = 1) -> AnswerShift:
    """Return an answer of these tokens."""
    text = "".join(one.text for one in tokens if not one.ends)
    return AnswerShift(name, turn, f"Question {name}?", text, "delimiter", tokens)


@pytest.mark.parametrize(
    ("rank", "category"),
    [(1, "unshifted"), (2, "marginal"), (3, "marginal"), (4, "shifted"), (262144, "shifted")],
)
def test_categories(rank: int, category: str) -> None:
    """Rank 1 is unshifted, 2 and 3 are marginal, above is shifted."""
    assert token("a", rank).category == category


def test_kinds() -> None:
    """Marks, and words that many questions' answers have, are stylistic; other words are content.

    A word of several tokens counts as one, in any case; what ends an answer is neither.
    """
    rows = [
        answer(
            "1", token("How"), token("ever"), token(" cats"), token("."), token("\n", ends=True)
        ),
        answer("2", token("how"), token("ever"), token(" boats"), token(" -")),
        answer("3", token(" However"), token(" cats")),
    ]
    assert token_kinds(rows) == [
        ["stylistic", "stylistic", "content", "stylistic", "end"],
        ["stylistic", "stylistic", "content", "stylistic"],
        ["stylistic", "content"],
    ]


def test_figures() -> None:
    """Shares are over tokens, the rank's mean is geometric, and turns are groups of their own."""
    rows = [
        answer("1", token("a"), token(" b", 2), token(" c", 8)),
        answer("1", token("d", 4), turn=2),
        AnswerShift("2", 1, "?", error="It failed."),
    ]
    summary = summarize(rows, base="base", aligned="aligned")
    groups = {figures.group: figures for figures in summary.groups}
    everything = groups["all"]
    shares = (everything.unshifted, everything.marginal, everything.shifted)
    assert [share.mean for share in shares] == [0.25, 0.25, 0.5]
    assert everything.rank.mean == pytest.approx((2 * 8 * 4) ** 0.25)
    assert groups["turn 2"].shifted.mean == 1
    assert (summary.questions, summary.answers, summary.failed) == (1, 2, 1)
    assert {one.text for one in summary.shifted_tokens} == {" c", "d"}


def test_without_any_answer(tmp_path: Path) -> None:
    """Where every answer failed, there are no figures, and the report lists the errors."""
    rows = [AnswerShift("1", 1, "?", error="It <failed>.")]
    summary = summarize(rows, base="base", aligned="aligned")
    assert (summary.groups, summary.curves, summary.failed) == ((), (), 1)
    write_report(tmp_path / "report.html", rows, summary)
    assert "It &lt;failed&gt;." in (tmp_path / "report.html").read_text("utf-8")


ranks = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(st.lists(ranks, min_size=1, max_size=8))
def test_shares_and_intervals(answers: list[list[int]]) -> None:
    """Shares add up to 1, each lies in its interval, and intervals lie within the possible."""
    rows = [answer(str(n), *(token("a", r) for r in one)) for n, one in enumerate(answers)]
    for figures in summarize(rows, base="b", aligned="a").groups:
        shares = (figures.unshifted, figures.marginal, figures.shifted)
        assert sum(share.mean for share in shares) == pytest.approx(1)
        for share in shares:
            assert -1e-9 <= share.low <= share.high <= 1 + 1e-9
        assert figures.rank.mean >= 1


def test_the_interval_holds_what_resampling_questions_gives() -> None:
    """With 400 equal questions of which 30 % are shifted, the interval is the binomial one."""
    rows = [answer(str(n), token("a", 9 if n % 10 < 3 else 1)) for n in range(400)]
    shifted = summarize(rows, base="b", aligned="a").groups[0].shifted
    half = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert (shifted.low, shifted.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.008)


def test_curves_end_where_few_answers_are_left() -> None:
    """A position has a figure while at least three answers, and a tenth of all, reach it."""
    rows = [answer(str(n), *[token("a", 2)] * n) for n in range(1, 6)]
    curves = {c.measure: c.estimates for c in summarize(rows, base="b", aligned="a").curves}
    assert {len(estimates) for estimates in curves.values()} == {3}
    assert curves["rank"][0].mean == pytest.approx(2)
    assert curves["kl"][2].mean == pytest.approx(0.25)


def test_csv(tmp_path: Path) -> None:
    """The table has a row for each group, with the ends of each interval."""
    summary = summarize([answer("1", token("a"), token("b", 5))], base="b", aligned="a")
    write_csv(tmp_path / "summary.csv", summary)
    with (tmp_path / "summary.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == [figures.group for figures in summary.groups]
    assert (rows[0]["tokens"], rows[0]["shifted"], rows[0]["shifted_low"]) == ("2", "0.5", "0.5")


def page_data(path: Path) -> Any:
    """Return the data that a report holds for its script."""
    page = path.read_text("utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(data)


def report_of(rows: Sequence[AnswerShift], path: Path) -> None:
    write_report(path, rows, summarize(rows, base="base", aligned="aligned"))


def test_the_report_holds_every_token(tmp_path: Path) -> None:
    """The page's data has each token's text, rank and top five; no text can end the script."""
    rows = [answer("1", token("</script>", 12, logprob=log(0.0004)), token(" b"))]
    report_of(rows, tmp_path / "report.html")
    data = page_data(tmp_path / "report.html")
    (packed,) = data["answers"]
    first, second = packed["tokens"]
    texts = data["texts"]
    assert (texts[first[0]], first[1], first[2]) == ("</script>", 12, 0)
    assert (texts[second[0]], second[2]) == (" b", 607)
    assert [texts[n] for n in first[7][::2]] == ["x", "</script>"]
    assert first[7][1::2] == [905, 82]


@pytest.mark.no_cover
def test_two_hundred_answers_are_small(tmp_path: Path) -> None:
    """The page of 200 answers of 250 tokens, with five different choices each, is below 5 MB."""
    top = tuple((f" word{n}", -0.5 - n) for n in range(5))
    tokens = [
        TokenShift(n, f" word{n % 3000}", 1 + n % 7, -1.23456, 1, -0.2, 1.23456, top, top)
        for n in range(250)
    ]
    report_of([answer(str(n), *tokens) for n in range(200)], tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_the_papers_figures_stand_beside(tmp_path: Path) -> None:
    """The report shows the shares that the paper measured for tuned models."""
    report_of([answer("1", token("a"))], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    for figure in ("77.7 %", "14.5 %", "7.8 %", "82.4 %", "12.8 %", "4.8 %", "82.2 %", "5.2 %"):
        assert figure in page
