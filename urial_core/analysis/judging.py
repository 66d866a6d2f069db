"""Judging: have a judge score all answers and compare them with a reference, and record it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal, TypeVar

from urial_core.analysis.answering import Answer, Key, Progress, ProgressCounter, in_threads
from urial_core.analysis.records import RecordFile
from urial_core.judge import Exchange, Judge
from urial_core.prompts.escaping import encodable

__all__ = ["Scores", "Verdict", "judge_pairs", "score_all", "verdict_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A judge's scores of one answer: a row of ``scores.jsonl``.

    Attributes:
        method: The method whose answer it is.
        question: The question's id.
        turn: Which turn, from 1.
        digest: A hash of what was judged: where an answer is another now, they do not count.
        scores: From 1 to 5, by aspect; empty if the judge failed.
        reasons: Why, by aspect.
        error: Why the judge failed; empty if it did not.
    """

    method: str
    question: str
    turn: int
    digest: str
    scores: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def answer_key(self) -> Key:
        """The answer's key."""
        return (self.method, self.question, self.turn)

    @property
    def key(self) -> tuple[object, ...]:
        """What was judged."""
        return (*self.answer_key, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's comparison of an answer with the reference's, in one order.

    Attributes:
        method: The method whose answer is compared.
        reference: The method with which it is compared.
        question: The question's id.
        turn: Which turn, from 1.
        order: 1 if the method's answer was shown first, 2 if the reference's was.
        digest: A hash of what was judged: where an answer is another now, it does not count.
        winner: Which one is better; empty if the judge failed.
        reason: Why.
        error: Why the judge failed; empty if it did not.
    """

    method: str
    reference: str
    question: str
    turn: int
    order: Literal[1, 2]
    digest: str
    winner: Literal["method", "reference", "tie", ""] = ""
    reason: str = ""
    error: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What was judged."""
        return (
            *(self.method, self.reference, self.question, self.turn, self.order),
            self.digest,
        )


def score_all(
    judge: Judge,
    answers: Mapping[Key, Answer],
    records: RecordFile[Scores],
    *,
    concurrency: int,
    progress: Progress,
) -> dict[Key, Scores]:
    """Score the answers that are not scored yet; those that failed are left out.

    Args:
        judge: The judge.
        answers: The answers.
        records: Where scores are recorded, and those of earlier runs are found.
        concurrency: How many answers are judged at the same time.
        progress: Receives the progress.

    Returns:
        The scores; where the judge failed, they hold the error. Those of an earlier run are asked
        for again.
    """
    wanted = [
        Scores(
            method=method,
            question=question,
            turn=turn,
            digest=_digest(_conversation(answers, answer.key)),
        )
        for (method, question, turn), answer in answers.items()
        if not answer.error
    ]

    def scored(row: Scores) -> Scores:
        assessment = judge.assess(_conversation(answers, row.answer_key))
        aspects = dict(assessment)
        return replace(
            row,
            scores={name: aspect.score for name, aspect in aspects.items()},
            reasons={name: encodable(aspect.reason) for name, aspect in aspects.items()},
        )

    rows = _judged("Scoring", wanted, scored, records, concurrency=concurrency, progress=progress)
    return {row.answer_key: row for row in rows}


def judge_pairs(
    judge: Judge,
    answers: Mapping[Key, Answer],
    reference: str,
    records: RecordFile[Verdict],
    *,
    concurrency: int,
    progress: Progress,
) -> list[Verdict]:
    """Compare all answers with those of a reference method, in both orders.

    Args:
        judge: The judge.
        answers: The answers.
        reference: The reference method's name.
        records: Where verdicts are recorded, and those of earlier runs are found.
        concurrency: How many pairs are judged at the same time.
        progress: Receives the progress.

    Returns:
        The verdicts; where the judge failed, they hold the error.
    """
    orders: tuple[Literal[1, 2], ...] = (1, 2)
    wanted = [
        Verdict(
            method=method,
            reference=reference,
            question=question,
            turn=turn,
            order=order,
            digest=_digest(
                _conversation(answers, answer.key)
                + _conversation(answers, (reference, question, turn))
            ),
        )
        for (method, question, turn), answer in answers.items()
        if method != reference and not answer.error and not answers[reference, question, turn].error
        for order in orders
    ]

    def compared(row: Verdict) -> Verdict:
        own = _conversation(answers, (row.method, row.question, row.turn))
        other = _conversation(answers, (row.reference, row.question, row.turn))
        pair = (own, other) if row.order == 1 else (other, own)
        preference = judge.compare(*pair)
        names: tuple[Literal["method", "reference"], ...] = ("method", "reference")
        a, b = names if row.order == 1 else names[::-1]
        winner: Literal["method", "reference", "tie"] = (
            "tie" if preference.better == "tie" else a if preference.better == "A" else b
        )
        return replace(row, winner=winner, reason=encodable(preference.reason))

    return _judged(
        "Comparing", wanted, compared, records, concurrency=concurrency, progress=progress
    )


def verdict_of(verdicts: Iterable[Verdict]) -> Literal["win", "tie", "loss", ""]:
    """Return the verdict over both orders: a win or a loss only if both agree.

    Args:
        verdicts: Those of one pair of answers.

    Returns:
        The verdict; empty if the judge failed in one of the orders.
    """
    winners = [verdict.winner for verdict in verdicts]
    if len(winners) < 2 or "" in winners:
        return ""
    if winners[0] != winners[1] or winners[0] == "tie":
        return "tie"
    return "win" if winners[0] == "method" else "loss"


_Row = TypeVar("_Row", Scores, Verdict)


def _judged(
    what: str,
    wanted: list[_Row],
    judged: Callable[[_Row], _Row],
    records: RecordFile[_Row],
    *,
    concurrency: int,
    progress: Progress,
) -> list[_Row]:
    done = {row.key for row in records.rows if not row.error}
    open_rows = [row for row in wanted if row.key not in done]
    counted = ProgressCounter(what, len(wanted) - len(open_rows), len(wanted), progress)

    def judge(row: _Row) -> None:
        try:
            result = judged(row)
        except Exception as error:  # noqa: BLE001 - of any chat model class
            result = replace(row, error=encodable(str(error) or type(error).__name__))
        records.append(result)
        counted.add()

    in_threads(judge, open_rows, concurrency)
    found = {row.key: row for row in records.rows}
    return [found[row.key] for row in wanted]


def _digest(conversation: Sequence[Exchange]) -> str:
    return sha256(json.dumps(conversation).encode()).hexdigest()[:16]


def _conversation(answers: Mapping[Key, Answer], key: Key) -> list[Exchange]:
    """Return a conversation up to an answer."""
    method, question, last = key
    turns = [answers[method, question, turn] for turn in range(1, last + 1)]
    return [(answer.query, answer.text) for answer in turns]
