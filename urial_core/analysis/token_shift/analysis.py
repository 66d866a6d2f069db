"""Token shift: what a URIAL prompt or tuning changes in a base model's choice of tokens.

The aligned side answers each question greedily. For each token of its answer, the base model reads
the same conversation and the answer so far, and predicts the next token; its distribution is
compared with the aligned side's (Lin et al. 2024, arXiv 2312.01552, section 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from urial_core.analysis.answering import Progress
from urial_core.analysis.questions import Question, load_questions
from urial_core.analysis.records import RecordFile
from urial_core.analysis.report_page import check_report_packages
from urial_core.analysis.token_shift.comparing import ComparedAnswer, answer_and_compare
from urial_core.analysis.token_shift.figures import ShiftSummary
from urial_core.analysis.token_shift.rows import AnswerShift
from urial_core.analysis.token_shift.scoring import AnswerScorer
from urial_core.analysis.token_shift.sides import (
    AlignedSide,
    ShiftModel,
    aligned_side,
    model_name,
    model_named,
    model_settings,
    scorer_of,
)
from urial_core.errors import AnalysisError, UrialError, shown
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt import Prompt

__all__ = ["shift"]


def shift(
    questions: Path | Iterable[Question | str | Iterable[str]],
    *,
    model: str | Path | ShiftModel,
    output: Path,
    against: str | Path | Prompt | ShiftModel = "default",
    max_tokens: int = 256,
    repetition_penalty: float = 1.0,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> ShiftSummary:
    """Compare a base model's predictions with those of its aligned side, token by token.

    ``tokens.jsonl`` gets a row for each answer once it is compared, and running again resumes;
    answers that failed are tried again. ``summary.csv`` and ``report.html`` are written at the end.

    Args:
        questions: A question file's path, or questions (see ``load_questions``).
        model: The base model: "demo" for the demo model; a hub id, a local folder or a ``.gguf``
            file; a vLLM server's URL; or a model of the transformers backend or of a server.
        output: The folder for the files.
        against: The aligned side: a preset's name, a prompt file's path or a prompt, under which
            the same model answers; or a tuned model with the same vocabulary, which answers with
            its own chat template, and runs in this process or on a server as the base model does.
        max_tokens: Longest answer, in tokens.
        repetition_penalty: Of the aligned side's greedy decoding; above 1, its answer is not always
            its most probable token. Default: 1, none.
        batch_size: How many answers are written and compared together.
        progress: Receives what is being done, and how much of it is done. Default: nothing.

    Returns:
        The figures.

    Raises:
        AnalysisError: Questions are invalid, or the folder has rows of other settings.
        PromptError: The prompt file is invalid.
        UnsupportedModelError: The vocabularies differ, or the server cannot score answers.
        ServerError: The server refused, or cannot be reached.
        MissingDependencyError: A package is not installed.
    """
    check_report_packages()
    from urial_core.analysis.token_shift.report import write_report
    from urial_core.analysis.token_shift.summary import summarize, write_csv

    if batch_size < 1:
        raise AnalysisError(f"batch_size is {batch_size}: give at least 1.")
    asked = load_questions(questions)
    parameters = GenerationParameters(
        temperature=0, max_tokens=max_tokens, repetition_penalty=repetition_penalty
    )
    base = model if isinstance(model, ShiftModel) else model_named(model)
    side = aligned_side(against, base)
    scorer = scorer_of(side, base)
    settings = {
        "model": model_settings(base),
        "against": side.settings,
        "max_tokens": max_tokens,
        "repetition_penalty": repetition_penalty,
    }
    with RecordFile(output / "tokens.jsonl", AnswerShift, settings) as records:
        run = _Run(asked, side, scorer, parameters, records)
        run.complete(batch_size, progress or (lambda _what, _done, _total: None))
        rows = run.rows
    summary = summarize(rows, base=model_name(base), aligned=side.name)
    write_csv(output / "summary.csv", summary)
    write_report(output / "report.html", rows, summary)
    return summary


@dataclass(frozen=True)
class _Run:
    """The rows that there are of each question's turns, and the making of those that are missing.

    A turn's key is its question's id and its number, from 1.
    """

    questions: Sequence[Question]
    side: AlignedSide
    scorer: AnswerScorer
    parameters: GenerationParameters
    records: RecordFile[AnswerShift]

    @property
    def rows(self) -> list[AnswerShift]:
        """The row of each turn, in order; the latest where a turn has several."""
        known = self._known
        keys = (key for question in self.questions for key in _keys(question))
        return [known[key] for key in keys if key in known]

    def complete(self, batch_size: int, progress: Progress) -> None:
        """Answer what has no answer yet, so many questions at a time.

        Raises:
            AnalysisError: The file has an answer to another question under the same id.
            UnsupportedModelError: The models cannot be compared.
        """
        self._check_texts()
        missing = [q for q in self.questions if not all(map(self._is_answered, _keys(q)))]
        if not missing:
            return
        self.scorer.check()
        keys = [key for question in self.questions for key in _keys(question)]
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            for turn in range(1, max(len(question.turns) for question in batch) + 1):
                progress("Answers", sum(map(self._is_answered, keys)), len(keys))
                self._take_turn([q for q in batch if turn <= len(q.turns)], turn)
        progress("Answers", sum(map(self._is_answered, keys)), len(keys))

    def _take_turn(self, batch: Sequence[Question], turn: int) -> None:
        """Answer one turn of each question that has no answer to it yet."""
        asked = list[Question]()
        for question in batch:
            if self._is_answered((question.id, turn)):
                continue
            if turn == 1 or self._is_answered((question.id, turn - 1)):
                asked.append(question)
            else:
                self._add(question, turn, AnalysisError("An earlier turn has no answer."))
        if asked:
            conversations = [self._conversation(question, turn) for question in asked]
            found = answer_and_compare(self.side, self.scorer, conversations, self.parameters)
            for question, outcome in zip(asked, found, strict=True):
                self._add(question, turn, outcome)

    def _conversation(self, question: Question, turn: int) -> list[Message]:
        messages = list[Message]()
        for key, text in zip(_keys(question)[: turn - 1], question.turns, strict=False):
            messages += [Message("user", text), Message("assistant", self._known[key].answer)]
        return [*messages, Message("user", question.turns[turn - 1])]

    def _add(self, question: Question, turn: int, outcome: ComparedAnswer | UrialError) -> None:
        text = question.turns[turn - 1]
        if isinstance(outcome, UrialError):
            row = AnswerShift(question.id, turn, text, error=str(outcome))
        else:
            row = AnswerShift(
                question.id, turn, text, outcome.text, outcome.end_reason, outcome.tokens
            )
        self.records.append(row)
        self._known[question.id, turn] = row

    def _is_answered(self, key: tuple[str, int]) -> bool:
        row = self._known.get(key)
        return row is not None and not row.error

    @cached_property
    def _known(self) -> dict[tuple[str, int], AnswerShift]:
        return {(row.id, row.turn): row for row in self.records.rows}

    def _check_texts(self) -> None:
        for question in self.questions:
            for key, text in zip(_keys(question), question.turns, strict=True):
                row = self._known.get(key)
                if row is not None and row.question != text:
                    raise AnalysisError(
                        f"{self.records.path} has the answer to another question with the id "
                        f"{question.id!r}: {shown(row.question)}. Choose another folder for the "
                        "output, or other ids."
                    )


def _keys(question: Question) -> list[tuple[str, int]]:
    return [(question.id, turn) for turn in range(1, len(question.turns) + 1)]
