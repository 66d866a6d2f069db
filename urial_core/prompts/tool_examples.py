"""Tool examples: the constant few-shot examples that show a base model how to call tools."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from urial_core.errors import PromptError
from urial_core.messages import Message
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.turns import group_turns, write_tools, write_turns
from urial_core.tools import Tool, ToolCall

__all__ = ["ToolExamples", "ToolExamplesTable", "default_tool_examples"]

_Text = Annotated[str, StringConstraints(min_length=1)]


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

    instruction: str
    tools: tuple[Tool, ...]
    examples: tuple[tuple[Message, ...], ...]
    content_free_query: str = ""

    def written(self, prompt_format: PromptFormat) -> str:
        """Return the examples as a prompt holds them.

        Raises:
            PromptError: One of the texts would break the prompt's structure.
        """
        self._check(prompt_format)
        return (
            (prompt_format.turn("system", self.instruction) if self.instruction else "")
            + write_tools(self.tools, prompt_format)
            + "".join(write_turns(example, prompt_format) for example in self.examples)
        )

    def _check(self, prompt_format: PromptFormat) -> None:
        texts: Sequence[str] = [
            self.instruction,
            *(tool.line for tool in self.tools),
            *(turn.text for example in self.examples for turn in group_turns(example)),
        ]
        for text in texts:
            if escape(text, prompt_format) != text:
                raise PromptError(
                    f"A tool example holds a line that looks like one of the headers "
                    f"{prompt_format.headers} or the fence {prompt_format.fence!r}: {text!r}. "
                    "Reword it or choose another format."
                )


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Tool(_Table):
    name: _Text
    description: str = ""
    parameters: _Text


class _Call(_Table):
    name: _Text
    arguments: _Text


class _Message(_Table):
    role: Literal["user", "assistant", "tool"]
    text: str = ""
    name: str | None = None
    failed: bool = False
    calls: list[_Call] = []

    def value(self) -> Message:
        calls = tuple(ToolCall(call.name, call.arguments, "example") for call in self.calls)
        return Message(self.role, self.text, self.name, calls, failed=self.failed)


class _Example(_Table):
    messages: list[_Message]


class ToolExamplesTable(_Table):
    """Tool examples as a table of a TOML file; see docs/prompts.md."""

    instruction: str = ""
    content_free_query: str = ""
    tools: list[_Tool]
    examples: list[_Example]

    def value(self) -> ToolExamples:
        """Return the tool examples."""
        return ToolExamples(
            instruction=self.instruction,
            content_free_query=self.content_free_query,
            tools=tuple(Tool(tool.name, tool.description, tool.parameters) for tool in self.tools),
            examples=tuple(
                tuple(message.value() for message in example.messages) for example in self.examples
            ),
        )


@cache
def default_tool_examples() -> ToolExamples:
    """Return the tool examples of every prompt that has none of its own."""
    text = (files(__package__) / "presets" / "tools" / "default.toml").read_text("utf-8")
    return ToolExamplesTable.model_validate(tomllib.loads(text)).value()
