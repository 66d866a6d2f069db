"""The report page of ``urial shift`` in a real browser: what it shows, and its keys."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from browser import opened, text_of

from urial_core.analysis.token_shift import AnswerShift, TokenShift
from urial_core.analysis.token_shift.report import write_report
from urial_core.analysis.token_shift.summary import summarize

RANKS = (5, 1, 2, 1, 40)


def row(number: int, kl: float | None = 0.5) -> AnswerShift:
    """Return an answer of five tokens, the first and the last of which are shifted."""
    texts = ("You", " can", " <b>try", " it", "\n")
    tokens = [
        TokenShift(
            at, text, rank, -1.0 - at, 1, -0.1, kl, ((" No", -0.5), (text, -1.5)), ((text, -0.1),)
        )
        for at, (text, rank) in enumerate(zip(texts, RANKS, strict=True))
    ]
    question = f"Question {number}?"
    return AnswerShift(str(number), 1, question, "".join(texts), "delimiter", tuple(tokens))


def dom_of(answers: int, script: str, folder: Path, kl: float | None = 0.5) -> str:
    """Open the report of so many answers, run a script after the page's own; return its DOM."""
    rows = [row(number, kl) for number in range(1, answers + 1)]
    page = folder / "report.html"
    write_report(page, rows, summarize(rows, base="base", aligned="aligned"))
    return opened(page, folder / "browser", script=script)


def whole_text_of(dom: str, element: str) -> str:
    """Return the text of the element with an id and all that it holds."""
    found = re.search(rf'<(\w+)[^>]*id="{element}".*?</\1>', dom, re.DOTALL)
    assert found
    return unescape(re.sub("<[^>]+>", " ", found[0]))


@pytest.mark.parametrize(("answers", "pages"), [(1, 1), (60, 3), (1000, 50)])
def test_answers_are_shown(answers: int, pages: int, tmp_path: Path) -> None:
    """The first page of answers is shown, their tokens in the colours of their categories."""
    dom = dom_of(answers, "", tmp_path)
    assert f"{answers} of {answers} answers · page 1 of {pages}" in text_of(dom, "count")
    shown = min(answers, 20)
    assert dom.count('class="t shifted ') == 2 * shown
    assert dom.count('class="t marginal ') == shown
    assert dom.count("<h3>Question ") == shown
    assert "<h3>Question 1? " in dom
    assert "40.0 %" in whole_text_of(dom, "shares")  # shifted: two of five


def test_keys(tmp_path: Path) -> None:
    """``s`` goes to the next shifted token, whose details are shown; markup in it stays text."""
    dom = dom_of(60, "press('s'); press('s'); press('ArrowLeft'); press('ArrowLeft')", tmp_path)
    details = whole_text_of(dom, "details")
    assert "<b>try" in details
    assert re.search(r"category\s+marginal", details)
    assert re.search(r"rank under the base\s+2\b", details)
    assert re.search(r"␣No\s+60\.7", details)
    (current,) = re.findall(r'<span class="t [^"]*current"[^>]*>(.*?)</span>', dom)
    assert unescape(current) == " <b>try"


def test_without_divergence(tmp_path: Path) -> None:
    """The details of a token that a server scored have no divergence; others have one."""
    for kl, shown in ((0.5, True), (None, False)):
        folder = tmp_path / str(kl)
        folder.mkdir()
        dom = dom_of(1, "press('s')", folder, kl)
        details = whole_text_of(dom, "details")
        assert "rank under the base" in details
        assert ("KL, nats" in details) is shown


def test_search_and_pages(tmp_path: Path) -> None:
    """The search finds questions, and ``n`` turns a page."""
    dom = dom_of(60, "press('n')", tmp_path)
    assert "page 2 of 3" in text_of(dom, "count")
    assert "<h3>Question 21? " in dom
    search = "const s = document.getElementById('search'); s.value = 'question 7?'; filter();"
    dom = dom_of(60, search, tmp_path)
    assert "1 of 60 answers · page 1 of 1" in text_of(dom, "count")


def test_printing(tmp_path: Path) -> None:
    """All answers that match are there to be printed, and only then."""
    printing = "dispatchEvent(new Event('beforeprint'));"
    dom = dom_of(60, printing, tmp_path)
    assert dom.count("<h3>Question ") == 60
    dom = dom_of(60, f"{printing} dispatchEvent(new Event('afterprint'));", tmp_path)
    assert dom.count("<h3>Question ") == 20
