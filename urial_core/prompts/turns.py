"""Turns: a conversation's messages as a prompt holds them, each under its header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urial_core.messages import Message
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt_format import PromptFormat, TurnKind
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_schema import compact
from urial_core.tools import Tool

__all__ = [
    "Turn",
    "group_turns",
    "result_text",
    "write_response_format",
    "write_tools",
    "write_turns",
]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a prompt holds under one header.

    Attributes:
        kind: Which header.
        messages: The messages that it is written for.
        text: Their text.
        number: The first one's position in the conversation, from 1.
    """

    kind: TurnKind
    messages: tuple[Message, ...]
    text: str
    number: int

    @property
    def name(self) -> str:
        """The turn's name in an error."""
        return {"call": "tool call", "tool": "tool result"}.get(self.kind, f"{self.kind} message")

    def written(self, prompt_format: PromptFormat) -> str:
        """Return the turn as the prompt holds it, escaped so that it cannot forge another."""
        return prompt_format.turn(self.kind, escape(self.text, prompt_format))


def group_turns(messages: Sequence[Message]) -> list[Turn]:
    """Group a conversation into turns.

    Consecutive messages of one role share a turn, with a blank line between them; calls share one
    too, a line each; tool results stay apart. Messages without text are left out, tool results
    excepted. System messages stay where they are, since rules may change in mid-conversation.
    """
    turns = list[Turn]()
    called = dict[str, str]()
    for number, message in enumerate(messages, 1):
        if message.role == "tool":
            name = message.name or called.get(message.tool_call_id or "")
            text = result_text(name, message.text, failed=message.failed)
            turns.append(Turn("tool", (message,), text, number))
            continue
        if message.text.strip():
            _add(turns, Turn(message.role, (message,), message.text, number), "\n\n")
        if message.tool_calls:
            called |= {call.id: call.name for call in message.tool_calls}
            lines = "\n".join(call.line for call in message.tool_calls)
            _add(turns, Turn("call", (message,), lines, number), "\n")
    return turns


def write_turns(messages: Sequence[Message], prompt_format: PromptFormat) -> str:
    """Return a conversation's turns as a prompt holds them."""
    return "".join(turn.written(prompt_format) for turn in group_turns(messages))


def write_tools(tools: Sequence[Tool], prompt_format: PromptFormat) -> str:
    """Return the turn that lists tools, a line each; nothing if there are none."""
    text = "\n".join(tool.line for tool in tools)
    return prompt_format.turn("tools", escape(text, prompt_format)) if tools else ""


def write_response_format(schema: JsonSchema | None, prompt_format: PromptFormat) -> str:
    """Return the turn with the JSON schema that the answer must match; nothing if there is none."""
    if schema is None:
        return ""
    rule = f"Answer with JSON only, in the form of this JSON schema: {compact(schema.schema)}"
    return prompt_format.turn("system", escape(rule, prompt_format))


def result_text(name: str | None, text: str, *, failed: bool) -> str:
    """Return the text of a tool result's turn."""
    mark = "error" if failed else ""
    head = f"{name} ({mark})" if name and mark else name or mark
    return f"{head}\n{text}" if head else text


def _add(turns: list[Turn], new: Turn, between: str) -> None:
    last = turns[-1] if turns else None
    if last and last.kind == new.kind:
        text = f"{last.text}{between}{new.text}"
        turns[-1] = Turn(new.kind, (*last.messages, *new.messages), text, last.number)
    else:
        turns.append(new)
