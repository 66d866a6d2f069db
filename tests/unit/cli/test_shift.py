"""``urial shift``: what is checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core.cli import analysis_options
from urial_core.cli.app import app
from urial_core.testing import FakeModel

Run = Callable[..., Result]


@pytest.fixture
def loaded() -> list[str | None]:
    """Record the models that would have been loaded."""
    return []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: list[str | None]) -> Run:
    """Run ``urial shift`` in an empty folder with a question file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.txt").write_text("Why?\n", "utf-8")

    def load_model(
        model_id: str | None, options: Mapping[str, Any], console: Console
    ) -> tuple[FakeModel, str]:
        loaded.append(model_id)
        return FakeModel(), "fake"

    monkeypatch.setattr(analysis_options, "load_model", load_model)

    def run(*arguments: str, questions: str = "questions.txt") -> Result:
        return CliRunner().invoke(app, ["shift", questions, "--output", "out", *arguments])

    return run


def test_invalid_questions(run: Run, tmp_path: Path, loaded: list[str | None]) -> None:
    """A question file that is missing or damaged is an error before any model is loaded."""
    (tmp_path / "bad.jsonl").write_text("no JSON\n", "utf-8")
    for file, part in (("none.txt", "Cannot read none.txt"), ("bad.jsonl", "bad.jsonl, line 1")):
        result = run("--model", "m", questions=file)
        assert result.exit_code == 1
        assert part in result.stderr
    assert loaded == []


def test_an_invalid_prompt_file(run: Run, tmp_path: Path, loaded: list[str | None]) -> None:
    """So is a prompt file that is missing or damaged."""
    (tmp_path / "bad.toml").write_text("version = 2\n", "utf-8")
    for file, part in (("none.toml", "no prompt file none.toml"), ("bad.toml", "bad.toml")):
        result = run("--model", "m", "--against", file)
        assert result.exit_code == 1
        assert part in result.stderr
    assert loaded == []


def test_other_backends_are_refused(run: Run, loaded: list[str | None]) -> None:
    """Only models of the transformers backend and of servers can score; the error says so."""
    result = run("--model", "some/model")
    assert result.exit_code == 1
    assert (
        "some/model runs neither in this process on transformers nor on a server" in result.stderr
    )
    assert loaded == ["some/model"]


def test_options_of_a_model_in_this_process(run: Run) -> None:
    """With a server's URL, an option of a model in this process is an error that names it."""
    result = run("--model", "http://127.0.0.1:9/v1", "--dtype", "float32")
    assert result.exit_code == 1
    assert "dtype: it applies only to a model in this process" in result.stderr
