"""The command ``urial template``: a prompt as a chat template for other engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from urial_core.chat_template import chat_template, modelfile
from urial_core.chat_template.jinja_template import begins_texts_with_bos
from urial_core.errors import MissingDependencyError, ModelLoadError, ParameterError
from urial_core.prompts.loading import load_prompt, preset_or_file
from urial_core.prompts.prompt import Prompt

__all__ = ["template"]


def template(
    *,
    prompt: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="A preset or a file: see 'urial prompts'.")
    ] = "default",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file to write. Default: stdout.")
    ] = None,
    template_format: Annotated[
        Literal["jinja", "modelfile"],
        typer.Option("--format", help="jinja: transformers, vLLM, llama.cpp. modelfile: Ollama."),
    ] = "jinja",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID_OR_PATH",
            help="The model it is for: its tokenizer decides whether it begins with bos_token.",
        ),
    ] = None,
) -> None:
    """Write a prompt as a chat template, and how to use it to stderr."""
    chosen = load_prompt(preset_or_file(prompt))
    if template_format == "modelfile":
        if model is None:
            raise ParameterError("A Modelfile needs --model: a name in Ollama, or a GGUF file.")
        text = modelfile(chosen, model)
        usage = f"Ollama:     ollama create NAME -f {output or 'Modelfile'}"
    else:
        text = chat_template(chosen, bos=_begins_with_bos(model))
        usage = _usage(chosen, model, str(output or "urial.jinja"))
    _write(text, output)
    typer.echo(usage, err=True)


def _usage(prompt: Prompt, model: str | None, file: str) -> str:
    stop = json.dumps(prompt.format.stop, ensure_ascii=False)
    gguf = model if model and _is_gguf(model) else "MODEL.gguf"
    other = model if model and not _is_gguf(model) else "MODEL"
    lines = [
        f"vLLM:       vllm serve {other} --chat-template {file}",
        f"llama.cpp:  llama-server -m {gguf} --jinja --chat-template-file {file}",
        f'Send the stop strings with every request: "stop": {stop}',
    ]
    if model is None:
        lines.append("Without --model, the template begins with bos_token, as Llama and Gemma do.")
    return "\n".join(lines)


def _begins_with_bos(model: str | None) -> bool:
    if model is None:
        return True
    if _is_gguf(model):
        return False  # llama.cpp adds the token itself, where the file says so
    MissingDependencyError.check("Reading a model's tokenizer", "transformers", "transformers")
    from transformers import AutoTokenizer  # which needs no torch

    try:
        return begins_texts_with_bos(AutoTokenizer.from_pretrained(model))
    except Exception as error:  # of many kinds
        reason = next(iter(str(error).strip().splitlines()), repr(error))
        raise ModelLoadError(f"Could not load the tokenizer of {model!r}: {reason}") from error


def _is_gguf(model: str) -> bool:
    return model.lower().endswith(".gguf")


def _write(text: str, output: Path | None) -> None:
    """Write the text as UTF-8 with its own line breaks, on every platform."""
    if output is None:
        typer.echo(text.encode(), nl=False)
        return
    try:
        output.write_bytes(text.encode())
    except OSError as error:
        raise ParameterError(f"Cannot write {output}: {error.strerror}.") from error
