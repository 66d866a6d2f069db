"""Questions: what an analysis asks, read from a JSONL or a plain text file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from urial_core.analysis.text_files import read_lines
from urial_core.errors import AnalysisError
from urial_core.prompts.escaping import encodable

__all__ = ["Question", "load_questions", "read_questions"]

JSONL_SUFFIXES = (".jsonl", ".ndjson")
"""Suffixes of JSONL files; a file with none of them is plain text."""

_Text = Annotated[str, StringConstraints(pattern=r"\S")]


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation to hold: what the user says, turn by turn.

    Attributes:
        id: Its name, unique among the questions of an analysis.
        turns: The user's messages, oldest first; at least one.
    """

    id: str
    turns: tuple[str, ...]


class _Line(BaseModel):
    """A line of a JSONL file; keys of other programs, such as ``category``, are ignored."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str | None = Field(None, validation_alias=AliasChoices("id", "question_id"))
    turns: list[_Text] | None = Field(None, min_length=1)
    question: _Text | None = None

    @model_validator(mode="after")
    def _has_one_text(self) -> Self:
        if (self.turns is None) == (self.question is None):
            raise ValueError('give one of "turns" (a list of texts) and "question" (a text)')
        return self


def read_questions(path: Path) -> list[Question]:
    """Read a question file.

    In a file named ``*.jsonl``, each line is ``{"id": ..., "turns": [...]}`` or
    ``{"question": ...}``; without an ``id``, it is the line's number. In any other file, each line
    is a question. Blank lines are left out.

    Raises:
        AnalysisError: The file is missing, empty, not UTF-8 or of another format (``*.json``), a
            line is invalid, or two questions have the same id; the message names the line.
    """
    is_jsonl = path.suffix.lower() in JSONL_SUFFIXES
    found = dict[str, int]()
    questions = list[Question]()
    for number, line in read_lines(path):
        place = f"{path}, line {number}"
        question = _parsed(line, number, place) if is_jsonl else _question(number, [line.strip()])
        if (first := found.setdefault(question.id, number)) != number:
            raise AnalysisError(
                f"{place}: the id {question.id!r} is that of line {first}, too. Ids must differ."
            )
        questions.append(question)
    if not questions:
        raise AnalysisError(f"{path} holds no questions.")
    return questions


def load_questions(source: Path | Iterable[Question | str | Iterable[str]]) -> list[Question]:
    """Return the questions of a file, or make them of texts and lists of turns.

    Args:
        source: A file's path, or questions; a text is a question of one turn, a list of texts one
            of several.

    Raises:
        AnalysisError: As ``read_questions`` does.
    """
    if isinstance(source, Path):
        return read_questions(source)
    if isinstance(source, str):
        raise AnalysisError("questions is a text: pass a pathlib.Path, or a list of questions.")
    questions = [
        given
        if isinstance(given, Question)
        else _question(number, [given] if isinstance(given, str) else list(given))
        for number, given in enumerate(source, 1)
    ]
    if not questions or not all(question.turns for question in questions):
        raise AnalysisError("There is nothing to ask: give questions with at least one turn each.")
    if len({question.id for question in questions}) < len(questions):
        raise AnalysisError("Two questions have the same id: ids must differ.")
    return questions


def _parsed(line: str, number: int, place: str) -> Question:
    try:
        parsed = _Line.model_validate_json(line)
    except ValidationError as error:
        fault: Any = error.errors()[0]
        key = "".join(f"{part}: " for part in fault["loc"])
        raise AnalysisError(f"{place}: {key}{fault['msg']}.") from error
    turns = parsed.turns if parsed.turns is not None else [parsed.question or ""]
    return _question(parsed.id if parsed.id is not None else number, turns)


def _question(name: str | int, turns: list[str]) -> Question:
    return Question(encodable(str(name)), tuple(map(encodable, turns)))
