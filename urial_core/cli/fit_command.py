"""The command ``urial fit``: a prompt file from a pool of good answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from urial_core.analysis import PromptFit, read_pool
from urial_core.analysis import fit as fit_prompt
from urial_core.analysis.prompt_search.fitting import checked_start
from urial_core.analysis.prompt_search.measures import (
    ANSWER_MEASURES,
    JUDGE_MEASURES,
    LIKELIHOOD,
    check_measure,
)
from urial_core.analysis.prompt_search.pool_split import split_pool
from urial_core.analysis.text_files import check_folder, read_text
from urial_core.cli.analysis_options import (
    BASE_MODEL,
    Backend,
    Concurrency,
    DeviceMap,
    Dtype,
    JudgeModel,
    MaxTokens,
    Temperature,
    analysis_model,
    chat_model_named,
    progress_bar,
)
from urial_core.cli.prompt_commands import print_findings
from urial_core.parameters import GenerationParameters
from urial_core.prompts.linting import lint
from urial_core.prompts.loading import preset_or_file

__all__ = ["fit"]


def fit(
    pool: Annotated[
        Path,
        typer.Argument(metavar="POOL", help="JSONL with 'question' and 'answer' on each line."),
    ],
    *,
    model: Annotated[str, BASE_MODEL],
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE.toml", help="The prompt file. Scores lie beside it: running resumes."
        ),
    ],
    measure: Annotated[
        str,
        typer.Option(
            metavar="MEASURE",
            help=f"What to improve: {LIKELIHOOD.name} of the pool's answers; of the model's own "
            f"{', '.join(ANSWER_MEASURES)}; with a judge {', '.join(JUDGE_MEASURES)}.",
        ),
    ] = LIKELIHOOD.name,
    judge: JudgeModel = None,
    start: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FILE", help="The preset or prompt file to start from."),
    ] = "default",
    instruction: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A text file with an instruction to try, too. Repeat it."
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="The most examples in the prompt.")] = 3,
    keep: Annotated[
        int, typer.Option(min=0, help="How many of the start's first examples stay.")
    ] = 0,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="The most pairs tried as examples. Default: half.")
    ] = None,
    tuning: Annotated[
        int | None, typer.Option(min=1, help="Pairs to tune on. Default: a quarter.")
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(min=1, help="Pairs to hold out. Default: a quarter.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Splits the pool.")] = 0,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    concurrency: Concurrency = 16,
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    device_map: DeviceMap = None,
) -> None:
    """Choose a prompt's instruction and examples from a pool; write a prompt file.

    Says whether pairs that were held out show a gain.
    """
    console = Console(stderr=True)
    # What can be wrong is checked before a model is loaded.
    begin = checked_start(preset_or_file(start), output, examples=examples, keep=keep)
    check_folder(output.parent)
    check_measure(measure, has_judge=judge is not None)
    pairs = read_pool(pool)
    sizes = {"candidates": candidates, "tuning": tuning, "held_out": held_out}
    split_pool(pairs, begin, seed, **sizes)
    texts = {str(file): read_text(file).strip() for file in instruction or ()}
    judging = chat_model_named(judge) if judge is not None else None
    options: dict[str, object] = {"backend": backend, "dtype": dtype, "device_map": device_map}
    if measure == LIKELIHOOD.name and backend == "auto" and not model.startswith("http"):
        # It reads an answer at once. No other process will want the prompts that are tried.
        options |= {"backend": "transformers", "prefix_on_disk": False}
    loaded = analysis_model(model, options, console)
    with progress_bar(console) as progress:
        found = fit_prompt(
            pairs,
            model=loaded,
            output=output,
            measure=measure,
            judge=judging,
            start=begin,
            instructions=texts,
            examples=examples,
            keep=keep,
            seed=seed,
            **sizes,
            parameters=GenerationParameters(max_tokens=max_tokens, temperature=temperature),
            concurrency=concurrency,
            progress=progress,
        )
    Console().print(_steps(found))
    print_findings(lint(found.prompt, loaded.count_tokens), console)
    typer.echo(found.verdict)
    typer.echo(str(output))


def _steps(found: PromptFit) -> Table:
    """Return the changes that were made, and what each did on the tuning pairs."""
    table = Table("Change", found.measure.title, box=None, pad_edge=False)
    for step in found.steps:
        table.add_row(step.change, f"{step.difference:+.3g}")
    if not found.steps:
        table.add_row(Text("none was better on the tuning pairs"), "")
    return table
