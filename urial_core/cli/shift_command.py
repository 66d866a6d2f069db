"""The command ``urial shift``: which tokens a prompt or tuning changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from urial_core.analysis import shift as measure_shift
from urial_core.analysis.questions import read_questions
from urial_core.analysis.report_page import check_report_packages
from urial_core.analysis.text_files import check_folder
from urial_core.analysis.token_shift import ShiftSummary
from urial_core.analysis.token_shift.sides import ShiftModel, prompt_named
from urial_core.backends.completions_server import is_server_url
from urial_core.cli.analysis_options import (
    DeviceMap,
    Dtype,
    QuestionFile,
    analysis_model,
    progress_bar,
)
from urial_core.errors import UnsupportedModelError

__all__ = ["shift"]


def shift(
    questions: QuestionFile,
    *,
    model: Annotated[
        str,
        typer.Option(
            envvar="URIAL_MODEL",
            metavar="NAME",
            help="Base model: demo, an id, a folder, a .gguf file, a vLLM server's URL[#MODEL].",
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the files; running again resumes.")
    ],
    against: Annotated[
        str,
        typer.Option(
            metavar="PROMPT_OR_MODEL",
            help="What is compared: a preset or prompt file for the same model, or a tuned model.",
        ),
    ] = "default",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    repetition_penalty: Annotated[
        float, typer.Option(min=0.01, help="Of the greedy answers; 1 is off.")
    ] = 1.0,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Answers that are written and compared together.")
    ] = 16,
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code from the model's repository.")
    ] = False,
) -> None:
    """Show which tokens a prompt or tuning changes: token distribution shift, with a report."""
    console = Console(stderr=True)
    options = {
        "dtype": dtype,
        "device_map": device_map,
        "trust_remote_code": trust_remote_code or None,
    }
    check_report_packages()
    check_folder(output)
    asked, prompt = read_questions(questions), prompt_named(against)  # before a model is loaded
    loaded = _load(model, options, console)
    tuned = None if prompt else _load(against, options, console)
    with progress_bar(console) as report:
        summary = measure_shift(
            asked,
            model=loaded,
            against=prompt or tuned or against,
            output=output,
            max_tokens=max_tokens,
            repetition_penalty=repetition_penalty,
            batch_size=batch_size,
            progress=report,
        )
    Console().print(_shares(summary))
    typer.echo(str(output / "report.html"))


def _load(model: str, options: Mapping[str, Any], console: Console) -> ShiftModel:
    in_process = {} if is_server_url(model) else {"backend": "transformers"}
    loaded = analysis_model(model, {**options, **in_process}, console)
    if not isinstance(loaded, ShiftModel):
        raise UnsupportedModelError(
            f"{model} runs neither in this process on transformers nor on a server."
        )
    return loaded


def _shares(summary: ShiftSummary) -> Table:
    """Return the shares of the groups of tokens as a table."""
    table = Table("", "tokens", "unshifted", "marginal", "shifted", box=None, pad_edge=False)
    for figures in summary.groups:
        shares = (figures.unshifted, figures.marginal, figures.shifted)
        cells = (f"{100 * e.mean:.1f} % ({100 * e.low:.1f}-{100 * e.high:.1f})" for e in shares)
        table.add_row(figures.group, str(figures.tokens), *cells)
    table.caption = f"{summary.answers} answers, {summary.failed} failed, {summary.cut} cut"
    return table
