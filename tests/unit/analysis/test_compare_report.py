"""The report of a comparison, opened in a browser."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from browser import opened, text_of

from urial_core.analysis import Comparison, compare
from urial_core.completion import CompletionChunk
from urial_core.testing import FakeModel

METHODS = ["zero_shot", "vanilla", "urial:default", "urial:default@1"]
SENTENCE = "Light of all colours reaches the air, and blue is scattered more than red is. "
CUT = CompletionChunk("It goes on", finish="length")


def comparison(output: Path, answers: int, words: int = 100) -> Comparison:
    """Make a report of that many answers, of texts that all differ."""
    methods = METHODS[: 1 if answers < len(METHODS) else None]
    questions = [f"Question {number}, why?" for number in range(1, answers // len(methods) + 1)]
    texts = [
        f"Answer {number}.\n\n1. **One**\n2. Two\n\n{SENTENCE * (words // 15)}\n````\n"
        for number in range(answers)
    ]
    model = FakeModel(*[[CUT] if number == 2 else [text] for number, text in enumerate(texts)])
    return compare(questions, methods, output=output, model=model, concurrency=1)


def cell(document: str, measure: str, column: int) -> str:
    row = re.search(rf'<tr data-measure="{measure}">.*?</tr>', document, re.DOTALL)
    assert row
    return unescape(re.findall(r'class="mean">([^<]*)<', row[0])[column])


@pytest.mark.parametrize("answers", [1, 60, 1000])
def test_opened_in_a_browser(tmp_path: Path, answers: int) -> None:
    """A report of 1, 60 and 1,000 answers shows its table, its plots and the answers asked for."""
    found = comparison(tmp_path / "out", answers)
    count, methods = len(found.questions), len(found.methods)
    document = opened(found.report, tmp_path / "browser", f"q={count}")
    assert text_of(document, "count") == f"{count} of {count} questions"
    assert document.count('<button type="button" aria-current') == count
    detail = document[document.index('id="detail"') :]
    assert f'data-question="{count}"' in detail
    assert detail.count('<article class="answer card"') == methods
    last = found.answers[found.methods[-1], str(count), 1]
    assert last.text.splitlines()[0] in detail
    means = {row.method: row.mean for row in found.summary if row.measure == "ended"}
    for column, method in enumerate(found.methods):
        assert cell(document, "ended", column) == f"{100 * means[method]:.1f} %"
    assert (document.count("<svg") > 5) == (methods > 1)


def detail_of(document: str) -> str:
    return document[document.index('id="detail"') : document.index('id="printed"')]


def test_keys(tmp_path: Path) -> None:
    """``j`` and ``k`` go to the next and the previous question, digits hide and show a method."""
    found = comparison(tmp_path / "out", 60)
    detail = detail_of(opened(found.report, tmp_path / "a", script='press("j"); press("j");'))
    assert 'data-question="3"' in detail
    detail = detail_of(opened(found.report, tmp_path / "b", "q=3", 'press("k"); press("2");'))
    assert 'data-question="2"' in detail
    assert 'data-method="zero_shot"' in detail
    assert 'data-method="vanilla"' not in detail


def test_search_and_filters(tmp_path: Path) -> None:
    """A search leaves the questions that hold the text; a filter those with such an answer."""
    found = comparison(tmp_path / "out", 60)
    script = (
        "const seen = []; const set = (id, value) => { at(id).value = value; list();"
        " seen.push(`${at('count').textContent}: ${at('detail').textContent}`); };"
        "set('search', 'QUESTION 12'); set('search', '');"
        "set('filter', data.filters.findIndex((filter) => filter.measure === 'ended'));"
        "set('filter-method', 1); document.title = JSON.stringify(seen);"
    )
    document = opened(found.report, tmp_path / "browser", script=script)
    searched, everything, cut, of_another = json.loads(
        unescape(document[document.index("<title>") + 7 : document.index("</title>")])
    )
    assert searched.startswith("1 of 15 questions: 12Question 12, why?")
    assert everything.startswith("15 of 15 questions")
    assert cut.startswith("1 of 15 questions")
    assert "cut at the limit" in cut
    assert of_another == "0 of 15 questions: No question matches."


def test_printing(tmp_path: Path) -> None:
    """All questions that match are there to be printed, and only then."""
    found = comparison(tmp_path / "out", 60)
    printing = 'dispatchEvent(new Event("beforeprint"));'
    document = opened(found.report, tmp_path / "a", script=printing)
    printed = document[document.index('id="printed"') :]
    assert printed.count('<article class="answer card"') == 60
    document = opened(
        found.report, tmp_path / "b", script=f'{printing}dispatchEvent(new Event("afterprint"));'
    )
    assert "<article" not in document[document.index('id="printed"') : document.index("</main>")]


def test_answers_with_markup_stay_text(tmp_path: Path) -> None:
    """What a model or a user writes is shown as text, whatever it looks like."""
    evil = '</script><img src=x onerror="document.title=1"><b>&amp;</b>'
    model = FakeModel([f"{evil}\n````\n"])
    found = compare([evil], ["zero_shot"], output=tmp_path / "out", model=model)
    document = opened(found.report, tmp_path / "browser")
    assert "<title>1 method, 1 question</title>" in document
    assert "<img" not in document[: document.index('<script type="application/json"')]
    escaped = evil.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert document.count(escaped) == 3  # in the list, as the query and as the answer


def test_size(tmp_path: Path) -> None:
    """A report of 200 long answers takes less than 5 MB; long is 600 words."""
    found = comparison(tmp_path, 200, words=600)
    assert found.report.stat().st_size < 5_000_000
