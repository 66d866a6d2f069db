"""Read a prompt in this project's format, TOML. docs/prompts.md describes it."""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from urial_core.errors import PromptError
from urial_core.frame import Frame
from urial_core.presets.tool_lesson_file import ToolLessonTable
from urial_core.prompt import Example, Prompt

__all__ = ["parse_toml"]

_Text = Annotated[str, StringConstraints(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Example(_Table):
    query: _Text
    answer: _Text


class _Frame(_Table):
    query_header: str = Frame().query_header
    answer_header: str = Frame().answer_header
    system_header: str = Frame().system_header
    tool_header: str = Frame().tool_header
    tools_header: str = Frame().tools_header
    call_header: str = Frame().call_header
    fence: str = Frame().fence
    before: str = Frame().before
    gap: str = Frame().gap
    strip_newlines: bool = Frame().strip_newlines


class _PromptFile(_Table):
    format: Literal[1]
    name: _Text
    description: str = ""
    language: str = "en"
    instruction: _Text
    frame: _Frame = _Frame()
    examples: list[_Example] = []
    tools: ToolLessonTable | None = None


def parse_toml(text: str, source: str) -> Prompt:
    """Parse a prompt file's text.

    Args:
        text: The file's text.
        source: What to call it in errors.

    Raises:
        PromptError: It is no TOML, a key is missing, unknown or of the wrong type, or the texts
            would break the page.
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
        frame=Frame(**data.frame.model_dump()),
        tool_lesson=data.tools.value() if data.tools else None,
    )
