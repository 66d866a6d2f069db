"""The commands ``urial prompt``: make, check, print and compare prompts of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any
from warnings import catch_warnings, simplefilter

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from urial_core.analysis.example_pool import read_pool
from urial_core.backends.in_process import model_in_process
from urial_core.cli.analysis_options import DEMO
from urial_core.cli.rendering import visible
from urial_core.composing import compose
from urial_core.demo import demo_model_file
from urial_core.errors import ParameterError
from urial_core.messages import Message
from urial_core.prompts.linting import PromptLint, lint
from urial_core.prompts.loading import load_prompt, preset_or_file
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.toml_writing import write_toml

__all__ = ["diff_prompts", "lint_prompt", "new_prompt", "print_findings", "show_prompt"]

_EXAMPLE_FILES = (".jsonl", ".ndjson")

PromptArgument = Annotated[
    str, typer.Argument(metavar="NAME_OR_FILE", help="A preset or a file: see 'urial prompts'.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Count tokens with this model: demo, a hub id, a folder or a .gguf file. Default: an "
        "estimate.",
    ),
]


def new_prompt(
    name: Annotated[str, typer.Argument(help="The prompt's name.")],
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="EXAMPLES_OR_PROMPT",
            help="JSONL with 'question' and 'answer' on each line; or a preset or prompt file.",
        ),
    ] = "default",
    instruction: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="'' for none. Default: the source's, or 'default's."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to write. Default: NAME.toml.")
    ] = None,
) -> None:
    """Make a prompt file from examples of your own, or from another prompt."""
    file = output or Path(f"{name}.toml")
    if Path(source).suffix.lower() in _EXAMPLE_FILES:
        prompt = replace(load_prompt(), description="", examples=tuple(read_pool(Path(source))))
    else:
        prompt = load_prompt(preset_or_file(source))
    changes: dict[str, Any] = {"name": name} | (
        {} if instruction is None else {"instruction": instruction}
    )
    text = write_toml(replace(prompt, **changes))
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"A name, instruction or example is not UTF-8: {error}.") from error
    try:
        with file.open("xb") as opened:  # never overwrites
            opened.write(data)
    except FileExistsError as error:
        raise ParameterError(f"{file} exists: choose another name, or --output.") from error
    except OSError as error:
        raise ParameterError(f"Cannot write {file}: {error.strerror}.") from error
    typer.echo(str(file))
    print_findings(lint(load_prompt(file)), Console(stderr=True))


def lint_prompt(
    prompt: PromptArgument,
    *,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if there are warnings.")
    ] = False,
) -> None:
    """Check a prompt: its size, its safety layer, and the style of its examples."""
    with catch_warnings(record=True) as caught:
        simplefilter("always")
        loaded = load_prompt(preset_or_file(prompt))
    found = lint(loaded, _counter(model))
    if as_json:
        defects = [str(warning.message) for warning in caught]
        typer.echo(json.dumps(asdict(found) | {"defects": defects}, ensure_ascii=False, indent=2))
    else:
        console = Console()
        console.print(_style_table(found))
        for warning in caught:
            console.print(Text.assemble(("warning ", "yellow"), visible(str(warning.message))))
        print_findings(found, console)
    if strict and (found.warnings or caught):
        raise typer.Exit(1)


def show_prompt(
    prompt: PromptArgument,
    *,
    question: Annotated[
        str, typer.Option(metavar="TEXT", help="The question after the examples.")
    ] = "Your question",
) -> None:
    """Print a whole prompt as the model sees it; in colour at a terminal."""
    loaded = load_prompt(preset_or_file(prompt))
    text = compose(loaded, [Message("user", question)]).prompt
    console = Console()
    if console.is_terminal:
        console.print(coloured(text, loaded), soft_wrap=True, end="")
    else:
        typer.echo(text.encode(), nl=False)


def diff_prompts(first: PromptArgument, second: PromptArgument) -> None:
    """Show what differs between two prompts, tool examples included, as a unified diff."""
    prompts = [load_prompt(preset_or_file(source)) for source in (first, second)]
    before, after = (
        [*_settings(prompt), *prompt.prefix_with_tools.splitlines()] for prompt in prompts
    )
    console = Console(highlight=False)
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in unified_diff(before, after, first, second, lineterm=""):
        console.print(Text(visible(line), style=colours.get(line[:1], "")), soft_wrap=True)


def coloured(text: str, prompt: Prompt) -> Text:
    """Return a prompt's text with a colour for each kind of turn, and headers and fences dim."""
    styles = {
        prompt.format.query_header: "cyan",
        prompt.format.answer_header: "green",
        prompt.format.system_header: "magenta",
    }
    shown, style = Text(), "yellow"
    for line in visible(text).splitlines(keepends=True):
        bare = line.strip()
        if bare in styles:
            style = styles[bare]
        is_delimiter = bare in styles or (prompt.format.fence and bare == prompt.format.fence)
        shown.append(line, f"dim {style}" if is_delimiter else style)
    return shown


def _settings(prompt: Prompt) -> list[str]:
    """Return what the prefix does not show, a line each."""
    chosen = {"language": prompt.language, **asdict(prompt.format)}
    return [*(f"{name} = {value!r}" for name, value in chosen.items()), ""]


def _counter(model: str | None) -> Callable[[str], int] | None:
    if model is None:
        return None
    return model_in_process(str(demo_model_file()) if model == DEMO else model, {}).count_tokens


def _style_table(found: PromptLint) -> Table:
    about = "about " if found.estimated else ""
    count = len(found.examples)
    table = Table(
        *("Example", "Tokens", "Opening", "Structure", "Closing", "Refusal"),
        title=f"{found.prompt}: {about}{found.tokens} tokens, {count} example{'s'[: count != 1]}",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for number, style in enumerate(found.examples, 1):
        features = (style.opening, style.structure, style.closing, style.refusal)
        table.add_row(str(number), str(style.tokens), *("yes" if one else "-" for one in features))
    return table


def print_findings(found: PromptLint, console: Console) -> None:
    """Print a line for each finding about a prompt."""
    for finding in found.findings:
        colour = "yellow" if finding.severity == "warning" else "cyan"
        line = Text.assemble((finding.severity, colour), f" {finding.rule}: {finding.message}")
        console.print(line, soft_wrap=True)
