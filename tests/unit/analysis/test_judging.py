"""Judges: scores with reasons, comparisons in both orders, and failures that are counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core.analysis import Comparison, compare
from urial_core.analysis.judging import Verdict, verdict_of
from urial_core.errors import AnalysisError
from urial_core.judge import ASPECTS, Assessment, Preference
from urial_core.testing import FakeModel

END = "\n````\n"
GOOD = {name: {"reason": f"Good {name}.", "score": 4} for name in ASPECTS}
Answering = Callable[[Any, str], object]


class FakeJudge:
    """A chat model whose structured output comes from a function of schema and text."""

    model_name = "fake-judge"

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.texts = list[str]()

    def with_structured_output(self, schema: type) -> Any:
        outer = self

        class Asked:
            def invoke(self, messages: list[tuple[str, str]]) -> object:
                text = messages[-1][1]
                outer.texts.append(text)
                result = outer.answer(schema, text)
                if isinstance(result, Exception):
                    raise result
                return result

        return Asked()


def judged(output: Path, judge: object) -> Comparison:
    """Compare a method that says "weak" with the reference, which says "strong"."""
    model = FakeModel([f"A strong one.{END}"], [f"A weak one.{END}"])
    return compare(
        ["Why is the sky blue?"],
        ["zero_shot", "vanilla"],
        output=output,
        model=model,
        judge=judge,
        concurrency=1,
    )


def prefers_strong(schema: Any, text: str) -> object:
    if schema is Assessment:
        return Assessment.model_validate(GOOD)
    first = "A" if text.index("strong") < text.index("weak") else "B"
    return Preference(reason="It is strong.", better=first)


def values(found: Comparison, method: str) -> dict[str, float]:
    return dict(found.values[method, "1", 1])


def test_scores_and_reasons(tmp_path: Path) -> None:
    """Each answer has six scores with reasons: as values, as a row, and in the report's data."""
    found = judged(tmp_path, FakeJudge(prefers_strong))
    assert {name: values(found, "vanilla")[name] for name in ASPECTS} == dict.fromkeys(ASPECTS, 4)
    first = json.loads((tmp_path / "scores.jsonl").read_text().splitlines()[0])
    assert first["reasons"]["depth"] == "Good depth."
    assert "Good depth." in found.report.read_text()


def test_both_orders_agree(tmp_path: Path) -> None:
    """An answer loses if the judge prefers the reference's in both orders."""
    judge = FakeJudge(prefers_strong)
    found = judged(tmp_path, judge)
    assert [(v.order, v.winner) for v in found.verdicts] == [(1, "reference"), (2, "reference")]
    assert (values(found, "vanilla")["win"], values(found, "vanilla")["loss"]) == (0, 1)
    assert "win" not in values(found, "zero_shot")


def test_a_judge_that_prefers_the_first(tmp_path: Path) -> None:
    """A verdict that the order decides is a tie."""

    def first(schema: Any, text: str) -> object:
        return GOOD if schema is Assessment else {"reason": "It is first.", "better": "A"}

    assert values(judged(tmp_path, FakeJudge(first)), "vanilla")["tie"] == 1


@pytest.mark.parametrize(
    ("winners", "verdict"),
    [
        (("method", "method"), "win"),
        (("reference", "reference"), "loss"),
        (("method", "reference"), "tie"),
        (("method", "tie"), "tie"),
        (("tie", "tie"), "tie"),
        (("method", ""), ""),
        (("method",), ""),
    ],
)
def test_verdicts(winners: tuple[Any, ...], verdict: str) -> None:
    """A win or a loss needs both orders; without one of them, there is no verdict."""
    rows = [
        Verdict(method="m", reference="r", question="q", turn=1, order=1, digest="", winner=winner)
        for winner in winners
    ]
    assert verdict_of(rows) == verdict


@pytest.mark.parametrize("failure", [None, {"helpfulness": 9}, ValueError("overloaded")])
def test_failures_are_counted(tmp_path: Path, failure: object) -> None:
    """No answer, an invalid one or an error of the judge is recorded and counted, not dropped."""
    found = judged(tmp_path, FakeJudge(lambda schema, text: failure))
    assert values(found, "vanilla")["judge_failed"] == 1
    assert "helpfulness" not in values(found, "vanilla")
    assert "win" not in values(found, "vanilla")
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert all(row["error"] for row in rows)
    assert len(rows) == 2


def test_failures_are_judged_again(tmp_path: Path) -> None:
    """A second run asks the judge again only for what failed."""
    failing = FakeJudge(
        lambda schema, text: ValueError("busy") if "weak" in text else prefers_strong(schema, text)
    )
    judged(tmp_path, failing)
    judge = FakeJudge(prefers_strong)
    found = judged(tmp_path, judge)
    assert len(judge.texts) == 3
    assert values(found, "vanilla")["judge_failed"] == 0


def test_scores_of_other_answers_do_not_count(tmp_path: Path) -> None:
    """Where answers were removed and made anew, they are judged anew."""
    judged(tmp_path, FakeJudge(prefers_strong))
    path = tmp_path / "answers.jsonl"
    path.write_text(path.read_text().replace("weak", "weaker"))
    judge = FakeJudge(prefers_strong)
    judged(tmp_path, judge)
    assert len(judge.texts) == 3
    assert all("weaker" in text for text in judge.texts)


def test_another_judge_is_refused(tmp_path: Path) -> None:
    """Scores of one judge are not mixed with another's."""
    judged(tmp_path, FakeJudge(prefers_strong))
    other = FakeJudge(prefers_strong)
    other.model_name = "another"
    with pytest.raises(AnalysisError, match="'judge': model_name it was 'fake-judge'"):
        judged(tmp_path, other)


@pytest.mark.needs("langchain_core")
def test_a_base_model_as_the_judge(tmp_path: Path) -> None:
    """A local ``ChatUrial`` judges by its own structured output."""
    from langchain_urial import ChatUrial

    answers = [json.dumps(GOOD)] * 2 + [json.dumps({"reason": "Equal.", "better": "tie"})] * 2
    responses = [[f"{answer[1:]}{END}"] for answer in answers]  # the prompt ends with a brace
    judge = ChatUrial(llm=FakeModel(*responses))
    found = judged(tmp_path, judge)
    assert values(found, "vanilla")["clarity"] == 4
    assert values(found, "vanilla")["tie"] == 1
