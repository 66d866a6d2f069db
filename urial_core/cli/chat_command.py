"""The command ``urial chat``: from its options to a session, at a terminal or in a pipe."""

from __future__ import annotations

import io
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Generator, Mapping
from contextlib import closing
from itertools import chain
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from urial_core.backends.completions_server import is_server_url
from urial_core.chat import UrialChat
from urial_core.cli.analysis_options import chat_model_named
from urial_core.cli.model_loading import load_model, server_model
from urial_core.cli.rendering import preset_list
from urial_core.cli.session import AnswerEnd, ChatSession
from urial_core.cli.terminal import chat_at_terminal, no_keyboard_echo, question_reader
from urial_core.completion import CompletionModel, ModelFeatures
from urial_core.composing import Overflow
from urial_core.demo import DEMO_NOTICE
from urial_core.errors import ConversationError, ParameterError
from urial_core.parameters import GenerationParameters
from urial_core.prompts.loading import load_prompt, preset_or_file
from urial_core.strategies import STRATEGIES, DecodingStrategy, load_strategy

__all__ = ["chat", "chat_in_pipe"]


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
            metavar="NAME",
            help="A base model: a hub id, a folder, a .gguf file or a server's URL[#MODEL].",
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="A preset or a file: see 'urial prompts'.")
    ] = "default",
    system: Annotated[
        str, typer.Option(metavar="TEXT", help="System message for the whole conversation.")
    ] = "",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens. Default: 1024.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 always takes the likeliest token. Default: 0.")
    ] = None,
    dry_multiplier: Annotated[
        float | None,
        typer.Option(min=0, help="DRY: against copies of examples and earlier answers; 0 is off."),
    ] = None,
    decoding: Annotated[
        str | None,
        typer.Option(
            metavar="STRATEGY",
            help=f"How an answer is found: {', '.join(STRATEGIES)}. Default: one sample.",
        ),
    ] = None,
    nudge_with: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER:MODEL",
            help="With --decoding nudge: a small aligned chat model, as 'openai:gpt-5-mini'.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    backend: Annotated[
        Literal["auto", "llama.cpp", "transformers"],
        typer.Option(help="auto: llama.cpp for a .gguf file where it is installed."),
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="transformers: float32, bfloat16, float16; auto: the fastest here.")
    ] = "auto",
    device_map: Annotated[
        str | None, typer.Option(help="As in transformers. Default: the best single device.")
    ] = None,
    context_window: Annotated[
        int | None,
        typer.Option(
            min=1, help="Prompt and answer, in tokens. Default: what model and memory allow."
        ),
    ] = None,
    overflow: Annotated[
        Overflow, typer.Option(help="Conversation too long: remove the oldest turns, or fail.")
    ] = "truncate",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code from the model's repository.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="In a pipe: report progress and tokens on stderr.")
    ] = False,
) -> None:
    """Chat with a base model. In a pipe, every line is a question and only answers come out."""
    source = context.get_parameter_source("model")
    both = demo and model and source and source.name == "COMMANDLINE"
    if both or not (demo or model):
        raise typer.BadParameter(
            "give one of them, or set URIAL_MODEL.",
            context,
            param_hint="--demo / --model NAME",
        )
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    console = Console() if at_terminal else Console(stderr=True, quiet=not verbose)
    chosen = load_prompt(preset_or_file(prompt))
    parameters = GenerationParameters(
        max_tokens=max_tokens, temperature=temperature, dry_multiplier=dry_multiplier, seed=seed
    )
    strategy = _strategy(decoding, nudge_with, context)
    wanted = None if demo else model
    options = {
        "backend": _backend(strategy, backend, wanted),
        "dtype": dtype if dtype != "auto" else None,
        "device_map": device_map,
        "trust_remote_code": trust_remote_code or None,
    }
    sizes = {
        "context_window": context_window,
        "n_parallel": 1 if strategy is None else None,  # then all memory is for one window
    }
    with no_keyboard_echo():
        loaded, description = _load(wanted, options, sizes, console)
        core = UrialChat(loaded, chosen, overflow, context_window, strategy)
        session = ChatSession(core, parameters, system)
        if at_terminal:
            with console.status("Reading the prompt"):
                session.warm_up()
    keys = "/help · Ctrl-C stops an answer · Ctrl-D quits" if console.is_terminal else ""
    facts = {"model": description, "prompt": chosen.name, "system": system, "help": keys}
    for name, value in facts.items():
        if value:
            console.print(Text.assemble((f"{name:8}", "bold"), value))
    if demo:
        console.print(Text(DEMO_NOTICE, style="dim"))
    console.print()
    if at_terminal:
        chat_at_terminal(session, console, question_reader())
    else:
        chat_in_pipe(session, console)


def _strategy(
    decoding: str | None, nudge_with: str | None, context: typer.Context
) -> DecodingStrategy | None:
    if decoding is not None and decoding not in STRATEGIES:
        raise typer.BadParameter(
            f"{decoding!r} is not one of {', '.join(map(repr, STRATEGIES))}.",
            context,
            param_hint="--decoding",
        )
    if (decoding == "nudge") != (nudge_with is not None):
        raise typer.BadParameter(
            "give both: the one needs the other.",
            context,
            param_hint="--decoding nudge / --nudge-with PROVIDER:MODEL",
        )
    return load_strategy(decoding, chat_model_named(nudge_with) if nudge_with else None)


def _backend(strategy: DecodingStrategy | None, backend: str, model: str | None) -> str:
    """Return the backend: the one that can run the strategy, where "auto" leaves the choice."""
    needed = "" if strategy is None else strategy.lacking(ModelFeatures())
    if not needed:
        return backend
    if is_server_url(model or ""):
        raise ParameterError(
            f"This --decoding needs {needed}, which a server does not report: as --model, give a "
            "hub id or a folder, which the transformers backend runs in this process."
        )
    if backend == "llama.cpp":
        raise ParameterError(
            f"This --decoding needs {needed}: run the model with --backend transformers."
        )
    return "transformers"


def _load(
    model: str | None, options: Mapping[str, Any], sizes: Mapping[str, Any], console: Console
) -> tuple[CompletionModel, str]:
    if model is not None and is_server_url(model):
        return server_model(model, options)
    chosen = {name: value for name, value in {**options, **sizes}.items() if value is not None}
    return load_model(model, chosen, console)


def chat_in_pipe(session: ChatSession, console: Console) -> None:
    """Answer each line that is not blank, as one conversation, with a blank line between answers.

    The output of slash commands goes to stderr.

    Args:
        session: The conversation.
        console: Where a summary of each answer goes.

    Raises:
        UrialError: An answer failed, or a question is not text; the remaining ones are not asked.
    """
    answered = False
    for line in _lines():
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        result = session.run_command(text)
        if result is None:
            if answered:
                sys.stdout.write("\n")
            _answer(session, text, console)
            answered = True
        elif result.kind == "quit":
            return
        else:
            sys.stderr.write(f"{preset_list() if result.kind == 'presets' else result.text}\n")


def _lines() -> Generator[str]:
    """Yield the lines of stdin: in UTF-8, in Windows' cp1252, or in UTF-16 with its mark.

    Raises:
        ConversationError: A line holds NUL characters, as UTF-16 without its mark does.
    """
    if not isinstance(sys.stdin, io.TextIOWrapper):
        yield from sys.stdin
        return
    source = sys.stdin.buffer
    first = source.readline()
    if first.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        yield from (first + source.read()).decode("utf-16", errors="replace").split("\n")
        return
    for line in chain([first], source):
        if b"\0" in line:
            raise ConversationError(
                "A question holds NUL characters, as text in UTF-16 does: send UTF-8."
            )
        try:
            yield line.decode("utf-8-sig")
        except UnicodeDecodeError:
            yield line.decode("cp1252", errors="replace")


def _answer(session: ChatSession, question: str, console: Console) -> None:
    with closing(session.ask(question)) as events:
        for event in events:
            sys.stdout.write("\n" if isinstance(event, AnswerEnd) else event.text)
            sys.stdout.flush()
            if isinstance(event, AnswerEnd):
                console.print(Text(event.summary(), style="dim"))
