"""Read a tool lesson: a part of a prompt file, or the file that all share. See docs/prompts.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from urial_core.messages import Message
from urial_core.prompts.tool_examples import ToolExamples
from urial_core.tools import Tool, ToolCall

__all__ = ["ToolExamplesTable"]

_Text = Annotated[str, StringConstraints(min_length=1)]


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
    """The file's form."""

    instruction: str = ""
    neutral: list[_Text] = []
    call_offset: float = 0.0
    tools: list[_Tool]
    examples: list[_Example]

    def value(self) -> ToolExamples:
        """What it says."""
        return ToolExamples(
            instruction=self.instruction,
            neutral=tuple(self.neutral),
            call_offset=self.call_offset,
            tools=tuple(Tool(tool.name, tool.description, tool.parameters) for tool in self.tools),
            examples=tuple(
                tuple(message.value() for message in example.messages) for example in self.examples
            ),
        )
