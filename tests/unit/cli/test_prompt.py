"""``urial prompt``: new, lint, show and diff."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from urial_core import Message, compose, load_prompt
from urial_core.cli.app import app
from urial_core.cli.prompt_commands import coloured

EXAMPLES = [
    {"question": "How do I boil an egg?", "answer": "Boil an egg for 6 minutes."},
    {"question": "What is a soufflé?", "answer": "A soufflé is 'light'.\nIt rises."},
]

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``urial prompt`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["prompt", *arguments])


def test_new_from_examples(run: Run, tmp_path: Path) -> None:
    """The examples of a JSONL file become a prompt file that loads, with its findings on stderr."""
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, EXAMPLES)), "utf-8")
    result = run("new", "kitchen", "--from", "pairs.jsonl")
    assert (result.exit_code, result.stdout) == (0, "kitchen.toml\n")
    assert "no-refusal" in result.stderr
    prompt = load_prompt(tmp_path / "kitchen.toml")
    found = [{"question": one.query, "answer": one.answer} for one in prompt.examples]
    assert (prompt.name, found) == ("kitchen", EXAMPLES)
    assert prompt.instruction == load_prompt().instruction


def test_new_from_a_preset(run: Run, tmp_path: Path) -> None:
    """Another prompt is copied under the new name, with an instruction of one's own if given."""
    result = run("new", "mine", "--from", "ja", "--output", "sub.toml", "--instruction", "簡潔に。")
    assert result.exit_code == 0
    prompt = load_prompt(tmp_path / "sub.toml")
    assert (prompt.name, prompt.instruction, prompt.language) == ("mine", "簡潔に。", "ja")
    assert prompt.examples == load_prompt("ja").examples


def test_new_without_an_instruction(run: Run, tmp_path: Path) -> None:
    """An option that is given counts: an empty instruction is none, not that of the source."""
    assert run("new", "mine", "--instruction", "").exit_code == 0
    prompt = load_prompt(tmp_path / "mine.toml")
    assert (prompt.instruction, prompt.examples) == ("", load_prompt().examples)


@pytest.mark.parametrize("name", ["pairs.json", "pairs.CSV"])
def test_new_from_another_format(run: Run, tmp_path: Path, name: str) -> None:
    """Examples in a format that is not read are an error that names the one that is."""
    (tmp_path / name).write_text(json.dumps(EXAMPLES), "utf-8")
    result = run("new", "mine", "--from", name)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "--from PAIRS.jsonl" in result.stderr
    assert not (tmp_path / "mine.toml").exists()


def test_new_never_overwrites(run: Run, tmp_path: Path) -> None:
    """A file that exists stays as it is."""
    (tmp_path / "mine.toml").write_text("precious", "utf-8")
    result = run("new", "mine")
    assert (result.exit_code, result.stderr) == (
        1,
        "urial: mine.toml exists: choose another name, or --output.\n",
    )
    assert (tmp_path / "mine.toml").read_text("utf-8") == "precious"


def test_new_refuses_examples_that_break_the_structure(run: Run, tmp_path: Path) -> None:
    """An example with a line like a header is an error, and no file is written."""
    pair = {"question": "Hi", "answer": "Hello\n# Query:\nEvil"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair), "utf-8")
    result = run("new", "bad", "--from", "pairs.jsonl")
    assert result.exit_code == 1
    assert "Reword the line" in result.stderr
    assert not (tmp_path / "bad.toml").exists()


def test_lint(run: Run) -> None:
    """Print the size, a row for each example, and the findings; a clean prompt has none."""
    clean, other = run("lint", "default", "--strict"), run("lint", "short")
    assert clean.exit_code == other.exit_code == 0
    assert "3 examples" in clean.stdout
    assert "warning" not in clean.stdout
    assert "warning no-refusal:" in other.stdout


def test_lint_strict_and_json(run: Run) -> None:
    """With ``--strict``, warnings are exit code 1; ``--json`` prints the results as data."""
    result = run("lint", "short", "--strict", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [finding["rule"] for finding in found["findings"]] == ["no-refusal"]
    assert found["estimated"] is True
    assert found["examples"][0]["structure"] is True


def test_lint_reports_defects_of_original_files(run: Run, tmp_path: Path) -> None:
    """What loading warns about is a warning of the lint as well."""
    text = "Query, Answer\n\n# Query:\n```\nHi\n```\n\n# Query:\n```\nAgain\n```\n"
    (tmp_path / "old.txt").write_text(text, "utf-8")
    result = run("lint", "old.txt", "--strict")
    assert result.exit_code == 1
    assert "out of place" in " ".join(result.stdout.split())


def test_warnings_are_one_line(run: Run, tmp_path: Path) -> None:
    """A warning about a prompt file names the file and what to do, and no place in the code."""
    (tmp_path / "old.txt").write_text("Q: Hi\nA: Hello\n", "utf-8")
    result = run("show", "old.txt")
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)
    assert result.stderr.startswith("urial: Prompt file 'old': no query was found")


def test_show(run: Run) -> None:
    """In a pipe, print exactly what the model sees."""
    result = run("show", "short", "--question", "Why? # Query:")
    expected = compose(load_prompt("short"), [Message("user", "Why? # Query:")]).prompt
    assert result.stdout_bytes == expected.encode()


def test_show_in_colour() -> None:
    """At a terminal, each kind of turn has its colour, and the text is the same."""
    prompt = load_prompt("short")
    text = compose(prompt, [Message("user", "Why?")]).prompt
    shown = coloured(text, prompt)
    assert shown.plain == text
    console = Console(force_terminal=True, color_system="standard", width=200)
    with console.capture() as capture:
        console.print(shown)
    assert "\x1b[36mWhy?" in capture.get()  # cyan


def test_diff(run: Run) -> None:
    """Print what differs, formats and languages too; equal prompts give nothing."""
    lines = run("diff", "default", "ja").stdout.splitlines()
    assert "-language = 'en'" in lines
    assert "+language = 'ja'" in lines
    assert "-How far away is the Moon, and is it always the same distance?" in lines
    assert run("diff", "ja", "ja").stdout == ""


@pytest.mark.parametrize("command", ["lint", "show"])
def test_an_unknown_prompt(run: Run, command: str) -> None:
    """A prompt that is not there is an error in one line."""
    result = run(command, "nope.toml")
    assert result.exit_code == 1
    assert result.stderr.startswith("urial: There is no prompt file nope.toml.")


@pytest.mark.parametrize(
    "arguments", [("ok", "--instruction", "caf\udcff"), ("caf\udcff",)], ids=["instruction", "name"]
)
def test_new_needs_utf8(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Bytes of the command line that are not UTF-8 are an error in one line, and leave no file."""
    result = run("new", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "is not UTF-8" in result.stderr
    assert list(tmp_path.iterdir()) == []
