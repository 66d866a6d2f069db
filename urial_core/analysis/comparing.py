"""Comparing: have questions answered by several methods, measure the answers, and report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from urial_core.analysis.answering import Answer, Key, Progress, answer_all
from urial_core.analysis.compare_report import write_report
from urial_core.analysis.comparison import Comparison
from urial_core.analysis.embedding import Embedding
from urial_core.analysis.example_pool import ExamplePool, load_pool
from urial_core.analysis.judging import Scores, Verdict, judge_pairs, score_all
from urial_core.analysis.measured import all_measures, measured
from urial_core.analysis.method_names import BaseModel, base_model, named_method
from urial_core.analysis.methods import Method, chat_model_method
from urial_core.analysis.questions import Question, load_questions
from urial_core.analysis.records import RecordFile
from urial_core.analysis.report_page import check_report_packages
from urial_core.analysis.summary import summarize, summary_csv
from urial_core.analysis.text_files import write_text
from urial_core.errors import ParameterError
from urial_core.judge import Judge
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt import Example

__all__ = ["compare"]


def compare(
    questions: Path | Iterable[Question | str | Iterable[str]],
    methods: Sequence[str] | Mapping[str, object],
    *,
    output: Path,
    model: object = None,
    parameters: GenerationParameters | None = None,
    pool: Path | Sequence[Example] | None = None,
    embedding: object = None,
    judge: object = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Comparison:
    """Have questions answered by several methods, measure the answers, and write a report.

    The folder gets ``answers.jsonl`` (a row as soon as an answer is there), ``summary.csv`` and
    ``report.html``; with a judge also ``scores.jsonl`` and ``verdicts.jsonl``. Running it again
    goes on where it was interrupted, and asks again for what failed. Methods and questions may be
    added.

    Args:
        questions: A question file (see ``read_questions``), or questions: texts, lists of turns.
        methods: Names of methods (see ``named_method``); or a mapping from names of your own to
            those, or to chat models of LangChain or LlamaIndex. The first one is the reference.
        output: The folder; it is made if it is missing.
        model: The base model of named methods: a ``CompletionModel``, or a ``ChatUrial`` or
            ``UrialLLM`` around one, whose sampling is taken, too.
        parameters: How named methods sample; they take precedence over ``model``'s own.
        pool: For ``retrieval``: question-and-answer pairs, or a JSONL file of them.
        embedding: For ``retrieval`` and the measure of relevance: an embedding model of LangChain
            or LlamaIndex, or the ``Path`` of a sentence-transformers model's folder.
        judge: A LangChain chat model that scores answers and compares them with the reference's.
        concurrency: How many conversations are held at the same time; engines in this process
            and servers batch them.
        progress: Receives what is done, how much of it, and of how much.

    Returns:
        The answers and all that was measured.

    Raises:
        AnalysisError: The questions or the pool are invalid, the folder holds results of other
            settings, or all answers failed.
        ParameterError: A method's name or a parameter is invalid, or something it needs is missing.
        UnsupportedModelError: An object given as a model cannot serve as one.
        MissingDependencyError: An optional package is not installed.
    """
    check_report_packages()
    asked = load_questions(questions)
    if concurrency < 1:
        raise ParameterError(f"concurrency is {concurrency}: give a whole number of at least 1.")
    base = base_model(model, parameters) if model is not None else None
    embedded = Embedding(embedding) if embedding is not None else None
    chosen = _methods(methods, base, _pool(pool, embedded))
    judging = Judge(judge) if judge is not None else None
    for question in asked:
        for method in chosen.values():
            method.prompt_text(question)  # which retrieves examples, before anything is generated
    reports = progress or (lambda _what, _done, _total: None)
    settings: dict[str, Any] = {"model": base.settings} if base is not None else {}
    settings |= {f"method {name}": method.settings for name, method in chosen.items()}
    with closing(RecordFile(output / "answers.jsonl", Answer, settings)) as records:
        answers = answer_all(asked, chosen, records, concurrency=concurrency, progress=reports)
    reference, *_ = chosen
    scores, verdicts = dict[Key, Scores](), list[Verdict]()
    if judging is not None:
        settings["judge"] = judging.settings
        with closing(RecordFile(output / "scores.jsonl", Scores, settings)) as rows:
            scores = score_all(judging, answers, rows, concurrency=concurrency, progress=reports)
        with closing(RecordFile(output / "verdicts.jsonl", Verdict, settings)) as pairs:
            verdicts = judge_pairs(
                judging, answers, reference, pairs, concurrency=concurrency, progress=reports
            )
    values = measured(asked, chosen, answers, embedding=embedded, scores=scores, verdicts=verdicts)
    names = [measure.name for measure in all_measures()]
    comparison = Comparison(
        output,
        asked,
        [*chosen],
        answers,
        values,
        summarize(values, [*chosen], names, reference),
        scores,
        verdicts,
    )
    write_text(output / "summary.csv", summary_csv(comparison.summary))
    write_report(comparison)
    return comparison


def _methods(
    given: Sequence[str] | Mapping[str, object], base: BaseModel | None, pool: ExamplePool | None
) -> dict[str, Method]:
    if isinstance(given, str):
        raise ParameterError("methods is a text: give a list of names, or a mapping.")
    named: list[tuple[str, object]] = (
        list(given.items()) if isinstance(given, Mapping) else [(name, name) for name in given]
    )
    methods = {
        name: named_method(method, base, pool)
        if isinstance(method, str)
        else chat_model_method(method)
        for name, method in named
    }
    if not methods:
        raise ParameterError("There are no methods: give at least one, such as 'urial:default'.")
    if len(methods) < len(named):
        raise ParameterError("A method is named twice: name each once.")
    return methods


def _pool(pool: Path | Sequence[Example] | None, embedding: Embedding | None) -> ExamplePool | None:
    if pool is None:
        return None
    pairs = load_pool(pool, has_embedding=embedding is not None)
    assert embedding is not None  # noqa: S101 - load_pool's condition
    return ExamplePool(pairs, embedding)
