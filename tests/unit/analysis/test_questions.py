"""Question files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core.analysis.questions import Question, load_questions, read_questions
from urial_core.errors import AnalysisError

TEXTS = st.text(min_size=1).filter(str.strip)


def written(folder: Path, text: str, name: str = "questions.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_lines_of_both_kinds(tmp_path: Path) -> None:
    """A line holds turns or a question; an id may be a number; other keys are ignored."""
    path = written(
        tmp_path,
        '{"id": "a", "turns": ["One?", "Two?"]}\n\n{"question": "Three?", "category": "x"}\r\n'
        '{"question_id": 81, "turns": ["Four?"]}',
    )
    assert read_questions(path) == [
        Question("a", ("One?", "Two?")),
        Question("3", ("Three?",)),
        Question("81", ("Four?",)),
    ]


def test_plain_text(tmp_path: Path) -> None:
    """In a file that is not JSONL, each line that is not blank is a question."""
    path = written(tmp_path, "\ufeffOne?\r\n\n  Two {x}?  \n", "questions.txt")
    assert read_questions(path) == [Question("1", ("One?",)), Question("3", ("Two {x}?",))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "Ok?"}\n{"question": ', "line 2: Invalid JSON"),
        ('{"question": "Ok?"}\n[1]', "line 2: "),
        ('{"id": "a"}', 'line 1: .*one of "turns"'),
        ('{"question": "Ok?", "turns": ["Ok?"]}', 'line 1: .*one of "turns"'),
        ('{"turns": []}', "line 1: turns: "),
        ('{"turns": ["Ok?", " "]}', "line 1: turns1?"),
        ('{"id": 1, "question": "A?"}\n{"id": "1", "question": "B?"}', "line 2: the id '1' is"),
        ("\n \n", "holds no questions"),
    ],
)
def test_invalid_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    """An error names the file, the line and what is invalid in it."""
    path = written(tmp_path, text)
    with pytest.raises(AnalysisError, match=message) as caught:
        read_questions(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["questions.json", "questions.CSV"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    """A file of another format is not read as plain text: the error says what to write."""
    path = written(tmp_path, '["One?", "Two?"]', name)
    with pytest.raises(AnalysisError, match=r"write it as JSONL"):
        read_questions(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", "One?".encode("utf-16-le")])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing or not UTF-8 is an error that names it."""
    path = tmp_path / "questions.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AnalysisError, match=r"questions\.txt"):
        read_questions(path)


def test_questions_from_python() -> None:
    """Texts and lists of turns are questions, too, numbered from 1."""
    own = Question("own", ("Hm?",))
    assert load_questions(["One?", ["Two?", "More?"], own]) == [
        Question("1", ("One?",)),
        Question("2", ("Two?", "More?")),
        own,
    ]


@pytest.mark.parametrize("given", ["questions.jsonl", [], [[]], [Question("a", ("x",))] * 2])
def test_invalid_questions_from_python(given: list[str]) -> None:
    """A bare text, no questions, no turns and equal ids are errors."""
    with pytest.raises(AnalysisError):
        load_questions(given)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=5))
def test_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[list[str]]
) -> None:
    """Whatever a question holds, it is read as it was written."""
    lines = [json.dumps({"id": f"q{n}", "turns": c}) for n, c in enumerate(conversations)]
    path = written(tmp_path_factory.mktemp("questions"), "\n".join(lines))
    assert [list(question.turns) for question in read_questions(path)] == conversations
