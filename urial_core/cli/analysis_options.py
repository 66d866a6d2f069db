"""Options and progress that the commands of an analysis share."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from urial_core.analysis.answering import Progress as ReportProgress
from urial_core.backends.completions_server import is_server_url
from urial_core.cli.model_loading import load_model, server_model
from urial_core.completion import CompletionModel
from urial_core.demo import DEMO_NOTICE
from urial_core.errors import MissingDependencyError, ParameterError

__all__ = [
    "BASE_MODEL",
    "DEMO",
    "Backend",
    "Concurrency",
    "DeviceMap",
    "Dtype",
    "JudgeModel",
    "MaxTokens",
    "QuestionFile",
    "Temperature",
    "analysis_model",
    "chat_model_named",
    "progress_bar",
]

DEMO = "demo"
"""The demo model's name among models."""

BASE_MODEL = typer.Option(
    envvar="URIAL_MODEL",
    metavar="NAME",
    help="A base model: demo, a hub id, a folder, a .gguf file or a server's URL[#MODEL].",
)
QuestionFile = Annotated[
    Path,
    typer.Argument(
        metavar="QUESTIONS", help="JSONL with 'turns' or 'question'; or text, a question a line."
    ),
]
JudgeModel = Annotated[
    str | None,
    typer.Option(
        metavar="PROVIDER:MODEL", help="A LangChain chat model that scores; or urial:MODEL."
    ),
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Longest answer, in tokens. Default: 1024.")
]
Temperature = Annotated[
    float | None, typer.Option(min=0, help="0 always takes the likeliest token. Default: 0.")
]
Concurrency = Annotated[int, typer.Option(min=1, help="Conversations held at the same time.")]
Backend = Annotated[
    Literal["auto", "llama.cpp", "transformers"],
    typer.Option(help="auto: llama.cpp for a .gguf file where it is installed."),
]
Dtype = Annotated[
    str, typer.Option(help="transformers: float32, bfloat16, float16; auto: the fastest here.")
]
DeviceMap = Annotated[
    str | None, typer.Option(help="As in transformers. Default: the best single device.")
]


def analysis_model(name: str, options: Mapping[str, Any], console: Console) -> CompletionModel:
    """Load a base model, and print what it is.

    Args:
        name: "demo", a hub id, a folder, a ``.gguf`` file, or the URL of a server with an
            OpenAI-style ``/v1/completions``.
        options: The backend and its options, for a model in this process. None and "auto" leave
            one at its default.
        console: Where progress and the model's description are shown.

    Raises:
        ModelError: There is no such model, or no such server.
        ParameterError: An option is unknown, or given for a server.
    """
    model: CompletionModel
    if is_server_url(name):
        model, description = server_model(name, options)
    else:
        chosen = {option: value for option, value in options.items() if value not in (None, "auto")}
        model, description = load_model(None if name == DEMO else name, chosen, console)
    console.print(Text(f"model  {description}"))
    if name == DEMO:
        console.print(Text(DEMO_NOTICE, style="dim"))
    return model


def chat_model_named(name: str) -> object:
    """Return a LangChain chat model by its provider and name, such as ``openai:gpt-5-mini``.

    Args:
        name: As ``init_chat_model`` takes it; ``urial:MODEL`` is a base model under the preset
            ``default``, "demo" the demo model under it.

    Raises:
        MissingDependencyError: ``langchain``, or the provider's package, is not installed.
        ParameterError: There is no such provider.
    """
    MissingDependencyError.check("A chat model by its name", "langchain", "langchain_core")
    if name == DEMO or name.startswith("urial:"):
        from langchain_urial import ChatUrial
        from urial_core.demo import demo_model_file

        model = str(demo_model_file()) if name == DEMO else name.removeprefix("urial:")
        return ChatUrial(model_name=model, max_string_length=_REASON, overflow="truncate")
    try:
        from langchain.chat_models import init_chat_model

        return init_chat_model(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name}: {error}. Install langchain and the provider's package, such as "
            "langchain-openai."
        ) from error
    except ValueError as error:
        raise ParameterError(f"{name!r} is no chat model: {error}") from error


_REASON = 300
"""Characters of a reason that a small judge may take, so that it comes to an end."""


@contextmanager
def progress_bar(console: Console) -> Generator[ReportProgress]:
    """Show what is being done as a bar with the time left; only at a terminal."""
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = dict[str, Any]()

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, completed=done)
            bar.update(tasks[what], completed=done, total=total)

        yield report
