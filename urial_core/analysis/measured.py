"""Measured: the values of all measures for each answer, those of text, embedding and judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from urial_core.analysis.answering import Answer, Key
from urial_core.analysis.embedding import Embedding
from urial_core.analysis.judging import Scores, Verdict, verdict_of
from urial_core.analysis.methods import Method
from urial_core.analysis.questions import Question
from urial_core.analysis.text_measures import MEASURES, AnswerInContext, Measure
from urial_core.judge import ASPECTS

__all__ = ["all_measures", "measured"]

FAILED = Measure(
    name="failed",
    title="Failed",
    explanation="Answers that failed; no other measure counts them.",
    unit="share",
    better="lower",
)
RELEVANCE = Measure(
    name="relevance",
    title="Relevance",
    explanation="Cosine similarity of the embeddings of question and answer.",
    unit="number",
    better="higher",
)
JUDGED = (
    *(
        Measure(
            name=name,
            title=name.capitalize(),
            explanation=f"The judge's score for {name}, from 1 to 5.",
            unit="number",
            better="higher",
        )
        for name in ASPECTS
    ),
    Measure(
        name="win",
        title="Wins",
        explanation="Answers that the judge prefers to the reference's in both orders.",
        unit="share",
        better="higher",
    ),
    Measure(
        name="tie",
        title="Ties",
        explanation="Answers with a tie, or with a verdict that the order changed.",
        unit="share",
    ),
    Measure(
        name="loss",
        title="Losses",
        explanation="Answers to which the judge prefers the reference's in both orders.",
        unit="share",
        better="lower",
    ),
    Measure(
        name="judge_failed",
        title="Judge failed",
        explanation="Answers that the judge failed to score or to compare.",
        unit="share",
        better="lower",
    ),
)


def all_measures() -> tuple[Measure, ...]:
    """Return every measure, in the order in which a report shows them."""
    return (FAILED, *JUDGED, RELEVANCE, *MEASURES)


def measured(
    questions: Sequence[Question],
    methods: Mapping[str, Method],
    answers: Mapping[Key, Answer],
    *,
    embedding: Embedding | None = None,
    scores: Mapping[Key, Scores] | None = None,
    verdicts: Sequence[Verdict] = (),
) -> dict[Key, dict[str, float]]:
    """Return the values of each answer, by the names of the measures that apply to it.

    Args:
        questions: What was asked.
        methods: The methods, by name.
        answers: The answers.
        embedding: For the measure of relevance; None leaves it out.
        scores: A judge's scores.
        verdicts: A judge's comparisons.
    """
    asked = {question.id: question for question in questions}
    values = dict[Key, dict[str, float]]()
    for key, answer in answers.items():
        values[key] = own = {"failed": float(bool(answer.error))}
        if answer.error:
            continue
        name, question, turn = key
        given = AnswerInContext(
            answer,
            methods[name].prompt_text(asked[question]),
            tuple(answers[name, question, before].text for before in range(1, turn)),
        )
        for measure in MEASURES:
            if (value := measure.value(given)) is not None:
                own[measure.name] = float(value)
    if embedding is not None:
        _add_relevance(values, answers, embedding)
    _add_judged(values, scores or {}, verdicts)
    return values


def _add_relevance(
    values: Mapping[Key, dict[str, float]], answers: Mapping[Key, Answer], embedding: Embedding
) -> None:
    given = [key for key, answer in answers.items() if answer.text.strip()]
    if not given:
        return
    queries = list(dict.fromkeys(answers[key].query for key in given))
    rows = dict(zip(queries, embedding.queries(queries), strict=True))
    texts = embedding.documents([answers[key].text for key in given])
    for key, text in zip(given, texts, strict=True):
        values[key]["relevance"] = float(rows[answers[key].query] @ text)


def _add_judged(
    values: Mapping[Key, dict[str, float]],
    scores: Mapping[Key, Scores],
    verdicts: Sequence[Verdict],
) -> None:
    for key, row in scores.items():
        values[key].update({name: float(score) for name, score in row.scores.items()})
        values[key]["judge_failed"] = float(bool(row.error))
    pairs = dict[Key, list[Verdict]]()
    for verdict in verdicts:
        pairs.setdefault((verdict.method, verdict.question, verdict.turn), []).append(verdict)
    for key, pair in pairs.items():
        if found := verdict_of(pair):
            values[key].update({name: float(name == found) for name in ("win", "tie", "loss")})
        else:
            values[key]["judge_failed"] = 1.0
