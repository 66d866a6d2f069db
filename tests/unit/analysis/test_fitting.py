"""``fit``: what is recorded and resumed, what is held out, and when a gain is claimed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numpy")

from urial_core import Example, GenerationParameters, Prompt, load_prompt
from urial_core.analysis import PromptFit, fit
from urial_core.analysis.bootstrap import Estimate
from urial_core.analysis.prompt_search.measures import ANSWER_MEASURES, LIKELIHOOD
from urial_core.analysis.prompt_search.pool_split import split_pool
from urial_core.completion import Completion, CompletionRequest, ModelFeatures, TokenLogprob
from urial_core.errors import (
    AnalysisError,
    ContextOverflowError,
    ParameterError,
    UnsupportedModelError,
)
from urial_core.judge import ASPECTS, Assessment
from urial_core.structured.constraints import Choice
from urial_core.testing import FakeModel

END = "\n````\n"
START = Prompt(name="plain", instruction="Be kind.")
POOL = [Example(f"Question {number}?", f"Answer {number}.") for number in range(1, 25)]
SPLIT = split_pool(POOL, START, 0)
FEW = {"candidates": 2}
GOOD, BETTER = (pair.example for pair in split_pool(POOL, START, 0, **FEW).candidates)


class ScoringModel(FakeModel):
    """Scores given texts by a function of what precedes them and of the text."""

    def __init__(self, logprob: Callable[[str, str], float], window: int | None = None) -> None:
        features = ModelFeatures(enforces_choices=True, scores_choices=True, scores_texts=True)
        super().__init__(features=features, context_window=window)
        self.logprob = logprob

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        self.requests += requests
        return [self._scored(request) for request in requests]

    def _scored(self, request: CompletionRequest) -> Completion:
        assert isinstance(request.constraint, Choice)
        [text] = request.constraint.options
        logprob = self.logprob(request.prompt, text)
        return Completion(text, finish="stop", logprobs=(TokenLogprob(text, logprob),))


def planted(prompt: str, text: str) -> float:
    """Prefer the better example, then the good one, the better one last; questions differ."""
    value = 3.0 * (GOOD.answer in prompt) + 6.0 * (BETTER.answer in prompt) - len(text)
    return value + (prompt.find(BETTER.answer) > prompt.find(GOOD.answer) >= 0)


def run(folder: Path, model: FakeModel, **options: Any) -> PromptFit:
    """Fit a prompt of at most two examples, one pair after another."""
    given = {"start": START, "examples": 2, "concurrency": 1, **options}
    return fit(given.pop("pool", POOL), model=model, output=folder / "own.toml", **given)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "own.scores.jsonl").read_text().splitlines()]


def test_the_planted_examples_are_found(tmp_path: Path) -> None:
    """The examples that help most, in the order that helps most, are in the file."""
    found = run(tmp_path, ScoringModel(planted))
    assert found.prompt.examples == (GOOD, BETTER)
    assert load_prompt(tmp_path / "own.toml") == found.prompt
    assert [step.change.partition(":")[0] for step in found.steps] == [
        *("example 1", "example 2", "order")
    ]
    assert found.gain_shown
    assert found.prompt.name == "own"
    assert found.verdict in found.prompt.description
    assert "Gain shown on 6 held-out pairs" in found.verdict


def test_the_score_is_per_token_of_the_answer_and_its_end(tmp_path: Path) -> None:
    """What is scored is the pair's answer up to the fence that ends it, after its question."""
    model = ScoringModel(lambda _, text: -7.0 * len(text.split()))
    found = run(tmp_path, model, examples=0)
    assert found.score is not None
    assert found.score.mean == -7
    request = model.requests[0]
    pair = SPLIT.tuning[0].example
    assert request.constraint == Choice((f"{pair.answer}\n````",))
    assert request.prompt.endswith(f"{pair.query}\n````\n\n# Answer:\n````\n")
    assert request.prompt[: request.prefix_length] == START.prefix


def test_held_out_pairs_never_enter_a_prompt(tmp_path: Path) -> None:
    """No prompt that is tried holds a tuning or a held-out pair; held-out ones decide nothing."""
    model = ScoringModel(planted)
    run(tmp_path, model)
    prefixes = {request.prompt[: request.prefix_length] for request in model.requests}
    assert len(prefixes) > 2 * len(SPLIT.candidates)
    for pair in (*SPLIT.tuning, *SPLIT.held_out):
        assert not any(pair.example.answer in prefix for prefix in prefixes)
    asked = {pair.number: pair.example.query for pair in SPLIT.held_out}
    held_out = [row for row in rows_of(tmp_path) if row["pair"] in asked]
    assert {row["change"] for row in held_out} == {"start", "fitted"}
    assert rows_of(tmp_path)[-len(held_out) :] == held_out


def test_no_gain_is_claimed_that_held_out_pairs_do_not_show(tmp_path: Path) -> None:
    """What helps on tuning questions only is written to the file, with the plain words."""
    tuned = [pair.example.query for pair in SPLIT.tuning]

    def only_tuning(prompt: str, text: str) -> float:
        return planted(prompt, text) if any(query in prompt for query in tuned) else -len(text)

    found = run(tmp_path, ScoringModel(only_tuning))
    assert found.prompt.examples == (GOOD, BETTER)
    assert not found.gain_shown
    description = load_prompt(tmp_path / "own.toml").description
    assert "No gain shown on 6 held-out pairs" in description


def test_nothing_helps(tmp_path: Path) -> None:
    """Without any change, the file holds the start, and no gain is claimed."""
    found = run(tmp_path, ScoringModel(lambda _, text: -len(text)))
    assert found.steps == []
    assert load_prompt(tmp_path / "own.toml").prefix == START.prefix
    assert found.difference == Estimate(0, 0, 0, 6)
    assert found.verdict.startswith("No gain shown")


@pytest.mark.parametrize("better", ["ended", "repetition"])
def test_when_a_gain_is_claimed(better: str) -> None:
    """A gain is claimed exactly if the interval lies on the better side of 0, over six pairs."""
    ends = combinations_with_replacement((-1.0, -0.1, 0.0, 0.1, 1.0), 2)
    for (low, high), count in product(ends, (5, 6, 20)):
        found = Estimate((low + high) / 2, low, high, count)
        result = PromptFit(
            Path("own.toml"), START, START, ANSWER_MEASURES[better], [], found, found, found
        )
        is_better = low > 0 if better == "ended" else high < 0
        assert result.gain_shown == (is_better and count >= 6)
        assert result.verdict.startswith("Gain shown") == result.gain_shown
        assert result.verdict.startswith("No gain shown") != result.gain_shown


class Killed(BaseException):
    """Stands for a kill while the model computes."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, ScoringModel(planted), **FEW)
    return folder


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_kill_loses_the_score_in_progress_only(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    """Wherever a run is killed, the next one asks for what is missing; the result is the same."""
    folder = tmp_path_factory.mktemp("killed")
    total = len(rows_of(whole))
    before = int(share * total)
    model = ScoringModel(planted)

    def until_the_kill(prompt: str, text: str) -> float:
        if len(model.requests) > before:
            raise Killed
        return planted(prompt, text)

    model.logprob = until_the_kill
    with pytest.raises(Killed):
        run(folder, model, **FEW)
    second = ScoringModel(planted)
    run(folder, second, **FEW)
    assert len(second.requests) == total - before
    assert rows_of(folder) == rows_of(whole)
    assert (folder / "own.toml").read_bytes() == (whole / "own.toml").read_bytes()


@given(cut=st.floats(0, 1))
def test_a_cut_file_is_completed(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, cut: float
) -> None:
    """Wherever a kill cut the file of scores, the rows that are whole count."""
    folder = tmp_path_factory.mktemp("cut")
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "own.scores.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    missing = content.count(b"\n") - path.read_bytes().count(b"\n")
    model = ScoringModel(planted)
    run(folder, model, **FEW)
    assert len(model.requests) in (missing, missing - 1)  # the last line may lack its end only
    assert (folder / "own.toml").read_bytes() == (whole / "own.toml").read_bytes()


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    """Everything is recorded; another number of examples scores only what is new."""
    first = run(tmp_path, ScoringModel(planted))
    model = ScoringModel(planted)
    assert run(tmp_path, model) == first
    assert model.requests == []
    run(tmp_path, model, examples=3)
    assert {request.prompt.count("# Answer:") for request in model.requests} == {4}


def test_concurrent_scores(tmp_path: Path) -> None:
    """Pairs that are scored at the same time give the same result."""
    one = run(tmp_path / "one", ScoringModel(planted))
    many = run(tmp_path / "many", ScoringModel(planted), concurrency=8)
    assert (many.prompt, many.steps, many.verdict) == (one.prompt, one.steps, one.verdict)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"pool": [*POOL, Example("Another?", "One.")]}, "pool"),
        ({"seed": 1}, "seed"),
        ({"measure": "ended"}, "measure"),
    ],
)
def test_scores_of_other_settings_are_refused(
    tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    """Rows of another pool, split or measure are never used; the error names what differs."""
    run(tmp_path, ScoringModel(planted))
    with pytest.raises(AnalysisError, match=f"another value of '{name}'"):
        run(tmp_path, ScoringModel(planted), **options)


def test_a_prompt_file_is_not_overwritten(tmp_path: Path) -> None:
    """A file that no search wrote stays, and so does the one that is started from."""
    (tmp_path / "own.toml").write_text("mine")
    with pytest.raises(ParameterError, match=r"no own\.scores\.jsonl beside it"):
        run(tmp_path, ScoringModel(planted))
    with pytest.raises(ParameterError, match="is what the search starts from"):
        run(tmp_path, ScoringModel(planted), start=tmp_path / "own.toml")
    assert (tmp_path / "own.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "beauty"}, "Unknown measure 'beauty': the measures are likelihood, ended"),
        ({"measure": "seconds"}, "Unknown measure 'seconds'"),
        ({"measure": "overall"}, "'overall' needs a judge"),
        ({"judge": object()}, "'likelihood' needs no judge"),
        ({"keep": 1}, "keep is 1: it may be at most 0, .* 'plain' has 0"),
        ({"keep": -1}, "keep is -1"),
        ({"start": "default", "examples": 1, "keep": 2}, "at most 1, as the prompt"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"start": Prompt(name="text", instruction="", verbatim="Hi")}, "is one text"),
    ],
)
def test_invalid_arguments(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """What is invalid is reported before the model is asked anything, and leaves no file."""
    model = ScoringModel(planted)
    with pytest.raises(ParameterError, match=message):
        run(tmp_path, model, **options)
    assert model.requests == []
    assert not [*tmp_path.iterdir()]


def test_a_model_that_cannot_score(tmp_path: Path) -> None:
    """Likelihood needs a model that scores given texts; the error names what works without."""
    model = FakeModel()
    with pytest.raises(
        UnsupportedModelError, match=r"fake cannot score given texts.*ended, forged"
    ):
        run(tmp_path, model)
    assert model.requests == []
    assert not [*tmp_path.iterdir()]


def test_the_context_window(tmp_path: Path) -> None:
    """Prompts that do not fit are left out; a start that does not is an error at once."""
    long = [Example(pair.query, f"{'word ' * 80}{pair.answer}") for pair in (GOOD, BETTER)]
    pool = [long[(GOOD, BETTER).index(p)] if p in (GOOD, BETTER) else p for p in POOL]
    for candidates in (None, 2):  # in the second case, none fits
        folder = tmp_path / f"{candidates}"
        model = ScoringModel(planted, window=60)
        assert run(folder, model, pool=pool, candidates=candidates).prompt.examples == ()
        assert len(model.requests) > 12
    with pytest.raises(ContextOverflowError):
        run(tmp_path / "small", ScoringModel(planted, window=10), pool=pool)


class AnsweringModel(FakeModel):
    """Answers with a forged turn and at length, unless its prompt holds the good example."""

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        self.requests += requests
        good = f"Blue.{END}"
        return [
            Completion(
                good if GOOD.answer in r.prompt else f"So.\nQuestion: Hm?{END}", finish="stop"
            )
            for r in requests
        ]


def test_a_measure_of_answers(tmp_path: Path) -> None:
    """The model's own answers are measured and recorded; fewer forged turns are a gain."""
    found = run(tmp_path, AnsweringModel(), measure="forged_turns")
    assert found.prompt.examples == (GOOD,)
    assert found.gain_shown
    assert found.difference is not None
    assert found.difference.mean == -1
    assert "forged turns 0.0 %, 100.0 % under 'plain'; difference -100.0 %" in found.verdict
    assert {row["answer"] for row in rows_of(tmp_path)} == {"Blue.", "So.\nQuestion: Hm?"}


def test_other_sampling_is_refused(tmp_path: Path) -> None:
    """Answers depend on how they are sampled, so rows of another sampling are an error."""
    run(tmp_path, AnsweringModel(), measure="forged_turns")
    with pytest.raises(AnalysisError, match="max_tokens it was None, and is now 5"):
        run(
            tmp_path,
            AnsweringModel(),
            measure="forged_turns",
            parameters=GenerationParameters(max_tokens=5),
        )


def test_a_measure_that_never_applies(tmp_path: Path) -> None:
    """Without a code block there is nothing to measure, and that is said after the first prompt."""
    model = AnsweringModel()
    with pytest.raises(AnalysisError, match="No tuning pair has a value under 'plain'"):
        run(tmp_path, model, measure="code_intact")
    assert len(model.requests) == len(SPLIT.tuning)


class FakeJudge:
    """A chat model whose structured output gives blue answers good scores."""

    def __init__(self, broken: str = "nothing") -> None:
        self.broken = broken

    def with_structured_output(self, schema: type) -> Any:
        judge = self

        class Asked:
            def invoke(self, messages: list[tuple[str, str]]) -> object:
                text = messages[-1][1]
                if judge.broken in text:
                    raise RuntimeError("no idea")
                score = 5 if "Blue." in text else 2
                aspects = {name: {"reason": "So.", "score": score} for name in ASPECTS}
                aspects["depth"]["score"] = 1
                return Assessment.model_validate(aspects) if schema is Assessment else None

        return Asked()


@pytest.mark.parametrize(("measure", "difference"), [("clarity", 3.0), ("overall", 2.5)])
def test_a_judge(tmp_path: Path, measure: str, difference: float) -> None:
    """An aspect is its score, ``overall`` the mean of all six."""
    found = run(tmp_path, AnsweringModel(), measure=measure, judge=FakeJudge())
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(difference)
    assert found.gain_shown


def test_a_judge_that_fails(tmp_path: Path) -> None:
    """Failures are rows and are counted; the next run judges these again."""
    asked = SPLIT.held_out[0].example.query
    options = {"measure": "clarity", "examples": 1}
    found = run(tmp_path, AnsweringModel(), judge=FakeJudge(broken=asked), **options)
    assert found.failed == 2
    assert not found.gain_shown
    assert "The judge failed 2 times" in found.verdict
    assert "on 5 held-out pairs" in found.verdict
    model = AnsweringModel()
    found = run(tmp_path, model, judge=FakeJudge(), **options)
    assert (found.failed, found.gain_shown, len(model.requests)) == (0, True, 2)
    with pytest.raises(AnalysisError, match="the judge failed on all"):
        run(tmp_path / "all", AnsweringModel(), judge=FakeJudge(broken="Q"), **options)


def test_instructions(tmp_path: Path) -> None:
    """The start's instruction, none and further ones are tried."""

    def brief(prompt: str, text: str) -> float:
        return 5.0 * ("Be brief." in prompt) - len(text)

    found = run(tmp_path, ScoringModel(brief), instructions={"brief": "Be brief."}, examples=0)
    assert found.prompt.instruction == "Be brief."
    changes = {row["change"] for row in rows_of(tmp_path)}
    assert changes == {"start", "instruction none", "instruction brief", "fitted"}


def test_progress(tmp_path: Path) -> None:
    """Each stage is reported, up to its end."""
    reports = list[tuple[str, int, int]]()
    run(tmp_path, ScoringModel(planted), progress=lambda *report: reports.append(report))
    ends = {what: (done, total) for what, done, total in reports}
    assert [*ends] == [
        "Start",
        "Instruction",
        "Example 1 of 2",
        "Example 2 of 2",
        "Order",
        "Held-out",
    ]
    assert all(done == total for done, total in ends.values())


def test_likelihood_is_the_default() -> None:
    """What is improved by default is named as in the command's help."""
    assert LIKELIHOOD.name == "likelihood"
    assert set(ANSWER_MEASURES) == {
        *("ended", "forged_turns", "repetition", "copied_from_prompt", "language_kept"),
        "code_intact",
    }
