"""Answering: have every question answered by every method, side by side, and record each answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TypeVar

from urial_core.analysis.methods import Method
from urial_core.analysis.questions import Question
from urial_core.analysis.records import RecordFile
from urial_core.errors import (
    AnalysisError,
    MissingDependencyError,
    ModelLoadError,
    UnsupportedModelError,
)
from urial_core.messages import Message
from urial_core.prompts.escaping import encodable

__all__ = ["Answer", "Key", "Progress", "ProgressCounter", "answer_all", "in_threads", "latest"]

_Job = TypeVar("_Job")

Key = tuple[str, str, int]
"""A method's name, a question's id, and a turn, from 1."""

Progress = Callable[[str, int, int], None]
"""Receives what is being done, how much of it is done, and how much there is."""

_FATAL = (MissingDependencyError, ModelLoadError, UnsupportedModelError)
"""Errors after which no other answer can succeed either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: a row of ``answers.jsonl``.

    Attributes:
        method: The method's name.
        question: The question's id.
        turn: Which turn of the conversation it answers, from 1.
        query: What the user said in that turn.
        text: The answer; empty if it failed.
        end: What ended it; "length" for the token limit; empty if unknown.
        seconds: How long it took, other answers being written at the same time.
        input_tokens: Tokens of the prompt; None if they were not counted.
        output_tokens: Tokens of the answer; None as above.
        cached_tokens: Tokens of the prompt that were found in a prefix cache; None as above.
        error: Why it failed; empty if it did not.
    """

    method: str
    question: str
    turn: int
    query: str
    text: str = ""
    end: str = ""
    seconds: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    error: str = ""

    @property
    def key(self) -> Key:
        """What it answers, and how."""
        return (self.method, self.question, self.turn)


def latest(rows: Iterable[Answer]) -> dict[Key, Answer]:
    """Return the last row of each answer: one that failed may have been asked for again."""
    return {row.key: row for row in rows}


def answer_all(
    questions: Sequence[Question],
    methods: Mapping[str, Method],
    records: RecordFile[Answer],
    *,
    concurrency: int,
    progress: Progress,
) -> dict[Key, Answer]:
    """Answer the questions that are not answered yet, and record each answer.

    Args:
        questions: The questions; the turns of each are asked one after another.
        methods: The methods by their names.
        records: Where answers are recorded, and those of earlier runs are found.
        concurrency: How many conversations are held at the same time.
        progress: Receives the progress.

    Returns:
        The answers of these questions and methods; those that failed hold the error. Answers that
        failed in an earlier run are asked for again.

    Raises:
        AnalysisError: A question had another text when it was answered before, or all answers
            failed.
        ModelError: The model cannot be loaded, or a package is missing.
    """
    done = latest(row for row in records.rows if not row.error)
    for question in questions:
        for turn, query in enumerate(question.turns, 1):
            rows = [done.get((name, question.id, turn)) for name in methods]
            if any(row is not None and row.query != query for row in rows):
                raise AnalysisError(
                    f"{records.path} answers another text as turn {turn} of question "
                    f"{question.id!r}. Choose another folder for the output, or another id."
                )
    wanted = [
        (name, question.id, turn)
        for name in methods
        for question in questions
        for turn in range(1, len(question.turns) + 1)
    ]
    open_keys = {key for key in wanted if key not in done}
    jobs = [
        (name, question)
        for name in methods
        for question in questions
        if any((name, question.id, turn) in open_keys for turn in range(1, len(question.turns) + 1))
    ]
    counted = ProgressCounter("Answering", len(wanted) - len(open_keys), len(wanted), progress)

    def converse(job: tuple[str, Question]) -> None:
        name, question = job
        for answer in _missing_answers(name, methods[name], question, done):
            records.append(answer)
            counted.add()

    in_threads(converse, jobs, concurrency)
    answers = latest(records.rows)
    found = {key: answers[key] for key in wanted}
    if all(answer.error for answer in found.values()):
        raise AnalysisError(
            f"All {len(found)} answers failed; the first one with: {found[wanted[0]].error}"
        )
    return found


class ProgressCounter:
    """Counts what is done, in any thread, and reports it."""

    def __init__(self, what: str, done: int, total: int, progress: Progress) -> None:
        self._what, self._done, self._total, self._progress = what, done, total, progress
        self._lock = threading.Lock()
        progress(what, done, total)

    def add(self) -> None:
        """Count one more."""
        with self._lock:
            self._done += 1
            self._progress(self._what, self._done, self._total)


def in_threads(work: Callable[[_Job], object], jobs: Sequence[_Job], concurrency: int) -> None:
    """Do jobs in threads. After an error, no further job begins; those that have begun end first.

    Args:
        work: Does a job.
        jobs: The jobs, in the order in which they begin.
        concurrency: How many threads.
    """
    threads = ThreadPoolExecutor(concurrency)
    wait = True
    try:
        for job in as_completed([threads.submit(work, job) for job in jobs]):
            job.result()
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        threads.shutdown(wait=wait, cancel_futures=True)


def _missing_answers(
    name: str, method: Method, question: Question, done: Mapping[Key, Answer]
) -> Iterator[Answer]:
    """Yield the answers of a conversation that are not done, in order."""
    messages = list[Message]()
    error = ""
    for turn, query in enumerate(question.turns, 1):
        messages.append(Message("user", query))
        answer = done.get((name, question.id, turn))
        if error or answer is None:
            answer = Answer(method=name, question=question.id, turn=turn, query=query, error=error)
            if not error:
                answer = _answered(answer, method, question, messages)
            yield answer
        if answer.error and not error:
            error = f"not asked, since turn {turn} failed"
        messages.append(Message("assistant", answer.text))


def _answered(
    answer: Answer, method: Method, question: Question, messages: Sequence[Message]
) -> Answer:
    """Return an answer with what the method replied, or with the error."""
    start = time.perf_counter()
    try:
        reply = method.reply(question, messages)
    except _FATAL:
        raise
    except Exception as error:  # noqa: BLE001 - of any LLM class
        return replace(answer, error=encodable(str(error) or type(error).__name__))
    usage = reply.usage
    return replace(
        answer,
        text=encodable(reply.text),
        end=reply.end,
        seconds=round(time.perf_counter() - start, 3),
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
    )
