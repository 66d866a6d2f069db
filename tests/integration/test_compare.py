"""``urial compare`` as a program, on the real demo model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.model,
    pytest.mark.matrix,
    pytest.mark.needs("jinja2", "numpy", "xllamacpp"),
]

TWO_TURNS = '{"id": "sky", "turns": ["Why is the sky blue?", "And at night?"]}\n'
ONE_TURN = '{"id": "sky", "question": "Why is the sky blue?"}\n'


def compare(
    folder: Path, *options: str, asked: str = TWO_TURNS
) -> subprocess.CompletedProcess[str]:
    """Compare two methods on the demo model, with answers of 40 tokens at most."""
    questions = folder / "questions.jsonl"
    questions.write_text(asked)
    command = [
        *(sys.executable, "-m", "urial_core.cli", "compare", str(questions), "--model", "demo"),
        *("--output", str(folder / "out"), "--max-tokens", "40", "--method", "zero_shot"),
        *("--method", "urial:short", *options),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_two_methods_and_a_second_run(tmp_path: Path) -> None:
    """Both turns are answered by both methods; a second run asks for nothing more."""
    done = compare(tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out" / "answers.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(row["method"], row["turn"]) for row in rows} == {
        *(("zero_shot", 1), ("zero_shot", 2), ("urial:short", 1), ("urial:short", 2))
    }
    assert all(row["text"] and not row["error"] and row["output_tokens"] <= 40 for row in rows)
    before = path.read_bytes()
    assert compare(tmp_path).returncode == 0
    assert path.read_bytes() == before


@pytest.mark.needs("langchain_core", "langchain_urial")
def test_a_local_judge(tmp_path: Path) -> None:
    """A base model judges by constrained decoding: every answer gets six scores and a verdict."""
    done = compare(tmp_path, "--judge", "demo", asked=ONE_TURN)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(s) for s in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(set(row["scores"].values()) <= {1, 2, 3, 4, 5} for row in rows)
    assert all(len(row["scores"]) == 6 for row in rows)
    verdicts = (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()
    assert {json.loads(line)["winner"] for line in verdicts} <= {"method", "reference", "tie"}
