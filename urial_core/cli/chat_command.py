"""The command ``urial chat``: from its options to a session and the right view of it."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from urial_core.cli.failures import told_in_one_line
from urial_core.cli.keyboard_echo import no_keyboard_echo
from urial_core.cli.model_choice import ModelChoice, ReadyModel, ready_model
from urial_core.cli.plain import chat_in_pipe
from urial_core.cli.session import ChatSession
from urial_core.cli.terminal import chat_at_terminal, question_reader
from urial_core.parameters import GenerationParameters
from urial_core.prompts.loading import load_prompt

__all__ = ["BackendChoice", "OverflowChoice", "chat"]

_MODEL_OPTIONS = "--demo / --model ID_OR_PATH"


class BackendChoice(StrEnum):
    """What runs the model."""

    AUTO = "auto"
    LLAMA_CPP = "llama.cpp"
    TRANSFORMERS = "transformers"


class OverflowChoice(StrEnum):
    """What to do when the conversation outgrows the model's window."""

    TRUNCATE = "truncate"
    ERROR = "error"


def chat(
    context: typer.Context,
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use Gemma 3 270M from the 'demo' extra (Gemma terms).")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            envvar="URIAL_MODEL",
            metavar="ID_OR_PATH",
            help="A hub id, a local folder or a .gguf file of a base model.",
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="A prompt: see 'urial prompts'.")
    ] = "default",
    system: Annotated[
        str, typer.Option(metavar="TEXT", help="Rules for the whole conversation.")
    ] = "",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens. Default: 1024.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 always takes the likeliest token. Default: 0.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    engine: Annotated[
        BackendChoice,
        typer.Option(help="auto: llama.cpp for a .gguf file where it is installed."),
    ] = BackendChoice.AUTO,
    dtype: Annotated[
        str, typer.Option(help="transformers: float32, bfloat16, float16; auto: the fastest here.")
    ] = "auto",
    device_map: Annotated[
        str | None, typer.Option(help="As in transformers. Default: the best single device.")
    ] = None,
    overflow: Annotated[
        OverflowChoice, typer.Option(help="Too long a conversation: drop old turns, or stop.")
    ] = OverflowChoice.TRUNCATE,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let code from the model's repository run.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="In a pipe: tell on stderr what goes on.")
    ] = False,
) -> None:
    """Chat with a base model. In a pipe, every line is a question and only answers come out."""
    if demo and model and _given_here(context, "model"):
        raise typer.BadParameter("give one of them.", context, param_hint=_MODEL_OPTIONS)
    if not demo and not model:
        raise typer.BadParameter(
            "give one of them, or set URIAL_MODEL.", context, param_hint=_MODEL_OPTIONS
        )
    choice = ModelChoice(
        model=None if demo else model,
        engine=engine.value,
        dtype=dtype,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
    )
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    console = Console() if at_terminal else Console(stderr=True, quiet=not verbose)
    with told_in_one_line():
        chosen_prompt = load_prompt(prompt)
        parameters = GenerationParameters(max_tokens=max_tokens, temperature=temperature, seed=seed)
        with no_keyboard_echo():
            ready = ready_model(choice, console)
        session = ChatSession(ready.model, chosen_prompt, parameters, overflow.value, system)
        if at_terminal:
            with no_keyboard_echo(), console.status("Reading the prompt"):
                session.warm_up()
        _introduce(ready, session, console)
        if at_terminal:
            chat_at_terminal(session, console, question_reader())
        else:
            chat_in_pipe(session, tell=lambda text: console.print(Text(text, style="dim")))


def _given_here(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line, rather than by the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _introduce(ready: ReadyModel, session: ChatSession, console: Console) -> None:
    """Show what is about to answer."""
    facts = {"model": ready.description, "prompt": session.prompt.name}
    if session.system:
        facts["system"] = session.system
    if console.is_terminal:
        facts["help"] = "/help · Ctrl-C stops an answer · Ctrl-D leaves"
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:8}", "bold"), value))
    if ready.notice:
        console.print(Text(ready.notice, style="dim"))
    console.print()
