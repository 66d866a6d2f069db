"""Tool examples: the constant few-shot examples that show a base model how to call tools."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter

from urial_core.messages import Message
from urial_core.prompts.escaping import check_needs_no_escaping
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.turns import group_turns, write_tools, write_turns
from urial_core.tools import Tool

__all__ = ["ToolExamples", "default_tool_examples"]


@dataclass(frozen=True, slots=True)
class ToolExamples:
    """What precedes an application's own tools in a prompt.

    Attributes:
        instruction: When to call tools, and how.
        tools: The examples' tools.
        examples: Short conversations: with calls and their results, and without.
        content_free_query: A query without content, which needs no tool. Where the model can score
            answer and call, by how much it prefers a call for this query is subtracted before the
            two are compared (contextual calibration, Zhao et al. 2021), so that a bias from the
            tools or the examples does not count. Empty for no calibration.
    """

    instruction: str = ""
    tools: tuple[Tool, ...] = ()
    examples: tuple[tuple[Message, ...], ...] = ()
    content_free_query: str = ""

    def written(self, prompt_format: PromptFormat) -> str:
        """Return the examples as a prompt holds them.

        Raises:
            PromptError: One of the texts would break the prompt's structure.
        """
        texts = [
            self.instruction,
            *(tool.line for tool in self.tools),
            *(turn.text for example in self.examples for turn in group_turns(example)),
        ]
        for text in texts:
            check_needs_no_escaping(text, prompt_format, "A tool example")
        return (
            (prompt_format.turn("system", self.instruction) if self.instruction else "")
            + write_tools(self.tools, prompt_format)
            + "".join(write_turns(example, prompt_format) for example in self.examples)
        )


@cache
def default_tool_examples() -> ToolExamples:
    """Return the tool examples of every prompt that has none of its own."""
    text = (files(__package__) / "presets" / "tools" / "default.toml").read_text("utf-8")
    return TypeAdapter(ToolExamples).validate_json(json.dumps(tomllib.loads(text)))
