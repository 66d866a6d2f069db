"""``urial compare``: from its options to files, a table on stdout and errors in one line."""

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

Compare = Callable[..., Result]
END = "\n````\n"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": "sky", "turns": ["Why is it blue?", "And at night?"]}\n')
    return path


@pytest.fixture
def loaded() -> list[tuple[str | None, Mapping[str, Any]]]:
    return []


@pytest.fixture
def compare(
    questions: Path,
    monkeypatch: pytest.MonkeyPatch,
    loaded: list[tuple[str | None, Mapping[str, Any]]],
) -> Compare:
    """Run the command with a fake model in the place of any that would be loaded."""

    def load_model(
        model_id: str | None, options: Mapping[str, Any], console: Console
    ) -> tuple[FakeModel, str]:
        loaded.append((model_id, options))
        return FakeModel([f"It is blue.{END}"]), "fake"

    monkeypatch.setattr(analysis_options, "load_model", load_model)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["compare", str(questions), *arguments])

    return run


def test_files_and_table(
    compare: Compare, tmp_path: Path, loaded: list[tuple[str | None, Mapping[str, Any]]]
) -> None:
    """The folder gets its files; stdout the means of first / later turns and the report's path."""
    output = tmp_path / "out"
    result = compare("--model", "demo", "--output", str(output), "--dtype", "float32")
    assert result.exit_code == 0, result.stderr
    assert (output / "report.html").is_file()
    assert len((output / "answers.jsonl").read_text().splitlines()) == 2 * 3
    assert "Ended by itself" in result.stdout
    assert "100.0 % / 100.0 %" in result.stdout
    assert result.stdout.rstrip().endswith("report.html")
    assert loaded == [(None, {"dtype": "float32"})]
    assert "Gemma Terms of Use" in " ".join(result.stderr.split())


def test_sampling_options(compare: Compare, tmp_path: Path) -> None:
    """Sampling options apply to every method; others on a second run are refused."""
    options = ["--model", "m", "--output", str(tmp_path / "out"), "--method", "zero_shot"]
    assert compare(*options, "--temperature", "0.5", "--max-tokens", "9").exit_code == 0
    result = compare(*options, "--temperature", "0.9", "--max-tokens", "9")
    assert result.exit_code == 1
    assert "temperature it was 0.5, and is now 0.9" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give a base model"),
        (["--model", "m", "--method", "nope"], "Unknown method 'nope'"),
        (["--model", "m", "--method", "vanilla", "--method", "vanilla"], "given twice"),
        (["--model", "m", "--method", "retrieval"], "needs a pool"),
        (["--model", "m", "--method", "urial:default@9"], "has 3 examples"),
        (["--model", "m", "--method", "zero_shot?heat=1"], "Unknown parameter heat"),
        (["--model", "http://127.0.0.1:1/v1", "--dtype", "float32"], "dtype: it applies only to"),
        (["--model", "m", "--pool", "none.jsonl"], "The pool needs an embedding model"),
        (["--model", "m", "--embedding", "x:y"], "There is no folder x:y with an embedding model"),
        (["--model", "m", "--pool", "none.jsonl", "--embedding", "."], "Cannot read none.jsonl"),
        (["--model", "m", "--pool", "q.json", "--embedding", "."], "not a JSONL or text file"),
    ],
)
def test_mistakes(
    compare: Compare, tmp_path: Path, options: list[str], message: str, loaded: list[Any]
) -> None:
    """A mistake is one line on stderr and the exit code 1; nothing is loaded or written."""
    result = compare("--output", str(tmp_path / "out"), *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not loaded
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_found_first(
    compare: Compare, questions: Path, loaded: list[Any]
) -> None:
    """No model is loaded for a folder that cannot be made, such as one inside a file."""
    result = compare("--model", "demo", "--output", str(questions / "out"))
    assert result.exit_code == 1
    assert result.stderr.endswith("questions.jsonl is no folder.\n")
    assert not loaded


def test_a_missing_question_file_is_found_first(
    compare: Compare, questions: Path, tmp_path: Path, loaded: list[Any]
) -> None:
    """No model is loaded for a question file that is not there."""
    questions.unlink()
    result = compare("--model", "demo", "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "questions.jsonl" in result.stderr
    assert not loaded


@pytest.mark.needs("langchain", "langchain_core")
@pytest.mark.parametrize(
    ("name", "message"), [("chat:nobody:x", "nobody"), ("chat:x", "is no chat model")]
)
def test_unknown_chat_models(compare: Compare, tmp_path: Path, name: str, message: str) -> None:
    """A chat model of an unknown provider is an error that names it."""
    result = compare("--output", str(tmp_path / "out"), "--method", name)
    assert result.exit_code == 1
    assert message in result.stderr
