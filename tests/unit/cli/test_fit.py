"""``urial fit``: from its options to a prompt file, its last lines, and errors before a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core import load_prompt
from urial_core.cli import analysis_options
from urial_core.cli.app import app
from urial_core.completion import Completion, CompletionRequest, ModelFeatures, TokenLogprob
from urial_core.structured.constraints import Choice
from urial_core.testing import FakeModel

Fit = Callable[..., Result]
Loaded = list[tuple[str | None, Mapping[str, Any]]]


class LikesExamples(FakeModel):
    """Finds given texts likelier the more answers of the pool the prompt holds."""

    def __init__(self, gain: float) -> None:
        features = ModelFeatures(enforces_choices=True, scores_choices=True, scores_texts=True)
        super().__init__(features=features)
        self.gain = gain

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        found = list[Completion]()
        for request in requests:
            assert isinstance(request.constraint, Choice)
            [text] = request.constraint.options
            logprob = self.gain * request.prompt.count("Good answer") - 9
            found.append(Completion(text, "stop", logprobs=(TokenLogprob(text, logprob),)))
        return found


@pytest.fixture
def loaded() -> Loaded:
    """Record the models that are loaded, with their options."""
    return []


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> Fit:
    """Run ``urial fit`` in an empty folder with a pool."""
    monkeypatch.chdir(tmp_path)
    pairs = [{"question": f"Question {n}?", "answer": f"Good answer {n}."} for n in range(24)]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, pairs)), "utf-8")

    def run(*arguments: str, pool: str = "pool.jsonl", gain: float = 1.0) -> Result:
        def load_model(
            model_id: str | None, options: Mapping[str, Any], console: Console
        ) -> tuple[FakeModel, str]:
            loaded.append((model_id, options))
            return LikesExamples(gain), "fake"

        monkeypatch.setattr(analysis_options, "load_model", load_model)
        given = ("--model", "some/model", "--output", "own.toml", *arguments)
        return CliRunner().invoke(app, ["fit", pool, *given])

    return run


def test_a_gain(fit: Fit, loaded: Loaded) -> None:
    """The steps, then the verdict and the file; findings of lint on stderr. Lint accepts it."""
    result = fit("--start", "instruction_only", "--examples", "2", "--candidates", "3")
    assert result.exit_code == 0, result.stderr
    assert "example 1: pair" in result.stdout
    *_, verdict, path = result.stdout.splitlines()
    assert verdict.startswith("Gain shown on 6 held-out pairs: log-probability per token")
    assert path == "own.toml"
    assert "warning no-refusal" in result.stderr
    assert loaded == [("some/model", {"backend": "transformers", "prefix_on_disk": False})]
    assert len(load_prompt(Path("own.toml")).examples) == 2
    checked = CliRunner().invoke(app, ["prompt", "lint", "own.toml"])
    assert checked.exit_code == 0


def test_no_gain(fit: Fit) -> None:
    """Without a gain the last lines say so, the file is written, and the exit code is 0."""
    result = fit("--candidates", "2", gain=0.0)
    assert result.exit_code == 0, result.stderr
    assert "none was better on the tuning pairs" in result.stdout
    assert result.stdout.splitlines()[-2].startswith("No gain shown on 6 held-out pairs")
    assert "No gain shown" in load_prompt(Path("own.toml")).description


def test_options(fit: Fit, loaded: Loaded) -> None:
    """Sizes, kept examples and instructions reach the search, and the backend its model."""
    Path("brief.txt").write_text("Good answer, Query and Answer.\n")
    sizes = ("--candidates", "2", "--tuning", "7", "--held-out", "8")
    more = ("--keep", "1", "--instruction", "brief.txt", "--backend", "llama.cpp", "--seed", "3")
    result = fit(*sizes, *more)
    assert result.exit_code == 0, result.stderr
    assert "on 8 held-out pairs" in result.stdout
    found = load_prompt(Path("own.toml"))
    assert found.instruction == "Good answer, Query and Answer."
    assert found.examples[0] == load_prompt().examples[0]
    assert len(found.examples) == 3
    assert loaded == [("some/model", {"backend": "llama.cpp"})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--measure", "beauty"), "Unknown measure 'beauty'"),
        (("--measure", "overall"), "'overall' needs a judge"),
        (("--start", "none.toml"), "no prompt file none.toml"),
        (("--keep", "4"), "keep is 4"),
        (("--instruction", "none.txt"), "Cannot read none.txt"),
        (("--held-out", "3"), "3 held out: there must be at least 6"),
        (("--output", "own.txt"), "output is own.txt: name a .toml file"),
        (("--output", "pool.jsonl"), "output is pool.jsonl: name a .toml file"),
    ],
)
def test_errors_before_a_model_is_loaded(
    fit: Fit, loaded: Loaded, arguments: tuple[str, ...], message: str
) -> None:
    """What is invalid is reported in one line, and no model is loaded for it."""
    result = fit(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert loaded == []


@pytest.mark.needs("langchain", "langchain_core")
def test_a_judge_of_an_unknown_provider(fit: Fit, loaded: Loaded) -> None:
    """No model is loaded where the judge cannot be made."""
    result = fit("--measure", "overall", "--judge", "foo:bar")
    assert result.exit_code == 1
    assert "foo" in result.stderr
    assert loaded == []


def test_a_missing_pool(fit: Fit, loaded: Loaded) -> None:
    """So is a pool that cannot be read."""
    result = fit(pool="none.jsonl")
    assert result.exit_code == 1
    assert "Cannot read none.jsonl" in result.stderr
    assert loaded == []
