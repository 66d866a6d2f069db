"""Read a prompt in this project's format, TOML. docs/prompts.md describes it."""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from urial_core.errors import PromptError
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.tool_examples import ToolExamplesTable, default_tool_examples

__all__ = ["parse_toml"]

_Text = Annotated[str, StringConstraints(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Example(_Table):
    query: _Text
    answer: _Text


class _PromptFormat(_Table):
    query_header: str = PromptFormat().query_header
    answer_header: str = PromptFormat().answer_header
    system_header: str = PromptFormat().system_header
    tool_header: str = PromptFormat().tool_header
    tools_header: str = PromptFormat().tools_header
    call_header: str = PromptFormat().call_header
    fence: str = PromptFormat().fence
    separator: str = PromptFormat().separator
    text_separator: str = PromptFormat().text_separator
    strip_newlines: bool = PromptFormat().strip_newlines


class _PromptFile(_Table):
    version: Literal[1]
    name: _Text
    description: str = ""
    language: str = "en"
    instruction: _Text
    format: _PromptFormat = _PromptFormat()
    examples: list[_Example] = []
    tools: ToolExamplesTable | None = None


def parse_toml(text: str, source: str) -> Prompt:
    """Parse a prompt file's text.

    Args:
        text: The file's text.
        source: What to call it in errors.

    Raises:
        PromptError: It is no TOML, a key is missing, unknown or of the wrong type, or the texts
            would break the prompt's structure.
    """
    try:
        data = _PromptFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PromptError(f"{source} is not valid TOML: {error}.") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise PromptError(f"{source} is not a prompt file: {faults}.") from error
    return Prompt(
        name=data.name,
        description=data.description,
        language=data.language,
        instruction=data.instruction,
        examples=tuple(Example(example.query, example.answer) for example in data.examples),
        format=PromptFormat(**data.format.model_dump()),
        tool_examples=data.tools.value() if data.tools else default_tool_examples(),
    )
