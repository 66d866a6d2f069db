"""Write a prompt in this project's format, TOML; ``toml_file`` reads it back as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from pydantic import TypeAdapter

from urial_core.errors import PromptError
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.tool_examples import ToolExamples, default_tool_examples

__all__ = ["write_toml"]


def write_toml(prompt: Prompt) -> str:
    """Return a prompt file's text, from which ``parse_toml`` makes an equal prompt.

    Raises:
        PromptError: The prompt's exact bytes are kept from an original file, and this format
            cannot hold those.
    """
    if prompt.verbatim is not None:
        raise PromptError(
            f"Prompt {prompt.name!r} is a file of the original repository, whose bytes are kept: "
            "use that file as it is."
        )
    lines = [
        "version = 1",
        f"name = {_inline(prompt.name)}",
        f"description = {_inline(prompt.description)}",
        f"language = {_inline(prompt.language)}",
        f"instruction = {_text(prompt.instruction)}",
    ]
    default = asdict(PromptFormat())
    chosen = {f.name: getattr(prompt.format, f.name) for f in fields(PromptFormat)}
    changed = {name: value for name, value in chosen.items() if value != default[name]}
    if changed:
        lines += ["", "[format]", *(f"{name} = {_inline(v)}" for name, v in changed.items())]
    for example in prompt.examples:
        lines += ["", "[[examples]]"]
        lines += [f"query = {_text(example.query)}", f"answer = {_text(example.answer)}"]
    if prompt.tool_examples != default_tool_examples():
        tools = TypeAdapter(ToolExamples).dump_python(
            prompt.tool_examples, mode="json", exclude_none=True
        )
        lines += ["", "[tools]", *(f"{name} = {_inline(value)}" for name, value in tools.items())]
    return "\n".join([*lines, ""])


def _text(text: str) -> str:
    """Write a text as a literal of several lines where TOML can, for people to edit."""
    readable = text.replace("\n", "").replace("\t", "").isprintable()
    if not readable or "'''" in text or text.endswith("'"):
        return _inline(text)
    return f"'''\n{text}'''"


def _inline(value: object) -> str:
    """Write a value on one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{name} = {_inline(one)}" for name, one in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value)
