"""Read a prompt in this project's format, TOML; docs/prompts.md describes it."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from urial_core.errors import PromptError
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.tool_examples import ToolExamples, default_tool_examples

__all__ = ["parse_toml"]


_NO_KEYS = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)|"(?:\\.|[^"\\\n])*"?'
    r"|'''.*?(?:'{3,5}|\Z)|'[^'\n]*'?|\#[^\n]*",
    re.DOTALL,
)
"""Strings and comments."""
_DEEP_KEY = re.compile(r"(?<![^\s.])[^\s.]++(?:[ \t]*+\.[ \t]*+[^\s.]*+){16}")
"""A key of more parts than any prompt file has: ``tomllib`` takes quadratic time for it."""


class _PromptFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)  # of the dataclasses in it, too

    version: Literal[1]
    name: str = Field(min_length=1)
    description: str = ""
    language: str = "en"
    instruction: str
    format: PromptFormat = PromptFormat()
    examples: tuple[Example, ...] = ()
    tool_examples: ToolExamples = Field(default_factory=default_tool_examples, alias="tools")


def parse_toml(text: str, source: str) -> Prompt:
    """Parse a prompt file's text.

    Args:
        text: The file's text.
        source: The file's name in errors.

    Raises:
        PromptError: It is no TOML, a key is missing, unknown or of another type, or the texts
            would break the prompt's structure.
    """
    if _DEEP_KEY.search(_NO_KEYS.sub("_", text)):
        raise PromptError(f"{source} has a key of more than 16 parts: no prompt file has such.")
    try:
        # As JSON, whose arrays are tuples too in pydantic's strict mode.
        data = _PromptFile.model_validate_json(json.dumps(tomllib.loads(text), default=str))
    except tomllib.TOMLDecodeError as error:
        raise PromptError(f"{source} is not valid TOML: {error}.") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise PromptError(f"{source} is not a prompt file: {faults[:2000]}.") from error
    except (ValueError, RecursionError) as error:  # numbers of many digits, lists in lists in lists
        raise PromptError(f"{source} cannot be read: {error}.") from error
    return Prompt(**{name: value for name, value in data if name != "version"})
