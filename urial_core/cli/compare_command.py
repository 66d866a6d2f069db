"""The command ``urial compare``: several methods side by side, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from urial_core.analysis import Comparison
from urial_core.analysis import compare as compare_methods
from urial_core.analysis.compare_report import written
from urial_core.analysis.embedding import check_embedding_folder
from urial_core.analysis.example_pool import load_pool
from urial_core.analysis.measured import all_measures
from urial_core.analysis.method_names import check_method
from urial_core.analysis.questions import read_questions
from urial_core.analysis.report_page import check_report_packages
from urial_core.analysis.text_files import check_folder
from urial_core.analysis.text_measures import Measure
from urial_core.cli.analysis_options import (
    BASE_MODEL,
    Backend,
    Concurrency,
    DeviceMap,
    Dtype,
    JudgeModel,
    MaxTokens,
    QuestionFile,
    Temperature,
    analysis_model,
    chat_model_named,
    progress_bar,
)
from urial_core.errors import ParameterError
from urial_core.parameters import GenerationParameters

__all__ = ["compare"]

DEFAULT_METHODS = ("zero_shot", "vanilla", "urial:default")

_CHAT = "chat:"


def compare(
    *,
    questions: QuestionFile,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder for the answers and the report.")
    ],
    model: Annotated[str | None, BASE_MODEL] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help="zero_shot, vanilla, retrieval, urial:PRESET_OR_FILE, chat:PROVIDER:MODEL; with "
            "@K for K examples, ?temperature=0.7 for settings. Repeat it; the first is the "
            f"reference. Default: {', '.join(DEFAULT_METHODS)}.",
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL with 'question' and 'answer', for retrieval."),
    ] = None,
    embedding: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A sentence-transformers model, for retrieval and relevance."
        ),
    ] = None,
    judge: JudgeModel = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    concurrency: Concurrency = 16,
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
) -> None:
    """Have questions answered by several methods; write answers, a table and a report.

    Run it again to go on after an interruption, or to add methods and questions.
    """
    # What can be wrong is checked before a model is loaded.
    check_report_packages()
    check_folder(output)
    asked = read_questions(questions)
    names = method or [*DEFAULT_METHODS]
    if len(set(names)) < len(names):
        raise ParameterError("A --method is given twice: give each once.")
    for name in names:
        if not name.startswith(_CHAT):
            check_method(name, has_pool=pool is not None)
    if embedding is not None:
        check_embedding_folder(embedding)
    pairs = load_pool(pool, has_embedding=embedding is not None) if pool is not None else None
    methods = {
        name: chat_model_named(name.removeprefix(_CHAT)) if name.startswith(_CHAT) else name
        for name in names
    }
    judging = chat_model_named(judge) if judge is not None else None
    console = Console(stderr=True)
    options = {"backend": backend, "dtype": dtype, "device_map": device_map}
    loaded = None
    if any(not name.startswith(_CHAT) for name in names):
        if model is None:
            raise ParameterError("Give a base model: --model demo, an id, a path or a URL.")
        loaded = analysis_model(model, options, console)
    with progress_bar(console) as progress:
        comparison = compare_methods(
            asked,
            methods,
            output=output,
            model=loaded,
            parameters=GenerationParameters(
                max_tokens=max_tokens, temperature=temperature, seed=seed
            ),
            pool=pairs,
            embedding=embedding,
            judge=judging,
            concurrency=concurrency,
            progress=progress,
        )
    Console().print(summary_table(comparison))
    if comparison.failed:
        console.print(Text(f"{comparison.failed} answers failed: see the report.", style="red"))
    typer.echo(str(comparison.report))


def summary_table(comparison: Comparison) -> Table:
    """Return all means for the terminal: of first turns, then, after a slash, of later ones."""
    table = Table(box=None, header_style="bold")
    table.add_column("Measure", no_wrap=True)
    for method in comparison.methods:
        table.add_column(method, overflow="fold")
    found = {(row.measure, row.method, row.turns): row for row in comparison.summary}

    def cell(measure: Measure, method: str) -> Text:
        rows = [found.get((measure.name, method, turns)) for turns in ("first", "later")]
        share = measure.unit == "share"
        means = [written(row.mean, share=share) if row else "–" for row in rows]
        return Text(" / ".join(means if any(rows[1:]) else means[:1]))

    measured = {row.measure for row in comparison.summary}
    for measure in all_measures():
        if measure.name in measured and (measure.name != "failed" or comparison.failed):
            cells = (cell(measure, method) for method in comparison.methods)
            table.add_row(measure.title, *cells)
    return table
