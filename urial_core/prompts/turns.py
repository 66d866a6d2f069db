"""Sections: a conversation's messages as they stand on the page.

Plain concatenation throughout: nobody's text ever meets a template language.
"""

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
    """What stands together on the page under one header.

    Attributes:
        kind: Which header.
        messages: The messages it is written for.
        text: What is written for them.
        number: The first one's place in the conversation, from 1.
    """

    kind: TurnKind
    messages: tuple[Message, ...]
    text: str
    number: int

    @property
    def name(self) -> str:
        """What to call it in an error."""
        return {"call": "tool call", "tool": "tool result"}.get(self.kind, f"{self.kind} message")

    def written(self, prompt_format: PromptFormat) -> str:
        """It as it stands on the page, unable to forge another."""
        return prompt_format.turn(self.kind, escape(self.text, prompt_format))


def group_turns(messages: Sequence[Message]) -> list[Turn]:
    """Group a conversation into sections.

    Messages of one role that follow one another share a section, a blank line between them; calls
    share one too, a line each; tool results stay apart. What a message does not say is left out,
    tool results excepted. System messages stay where they are, since rules may change in
    mid-conversation.
    """
    sections = list[Turn]()
    called = dict[str, str]()
    for number, message in enumerate(messages, 1):
        if message.role == "tool":
            name = message.name or called.get(message.tool_call_id or "")
            text = result_text(name, message.text, failed=message.failed)
            sections.append(Turn("tool", (message,), text, number))
            continue
        if message.text.strip():
            _add(sections, Turn(message.role, (message,), message.text, number), "\n\n")
        if message.tool_calls:
            called |= {call.id: call.name for call in message.tool_calls}
            lines = "\n".join(call.line for call in message.tool_calls)
            _add(sections, Turn("call", (message,), lines, number), "\n")
    return sections


def write_turns(messages: Sequence[Message], prompt_format: PromptFormat) -> str:
    """A conversation's sections alone, as they stand on the page."""
    return "".join(section.written(prompt_format) for section in group_turns(messages))


def write_tools(tools: Sequence[Tool], prompt_format: PromptFormat) -> str:
    """The section that lists tools, a line each; nothing if there are none."""
    text = "\n".join(tool.line for tool in tools)
    return prompt_format.turn("tools", escape(text, prompt_format)) if tools else ""


def write_response_format(output: JsonSchema | None, prompt_format: PromptFormat) -> str:
    """The section with the rule in what form to answer; nothing if there is none."""
    if output is None:
        return ""
    rule = f"Answer with JSON only, in the form of this JSON schema: {compact(output.schema)}"
    return prompt_format.turn("system", escape(rule, prompt_format))


def result_text(name: str | None, text: str, *, failed: bool) -> str:
    """What the section of a tool's result says."""
    mark = "error" if failed else ""
    head = f"{name} ({mark})" if name and mark else name or mark
    return f"{head}\n{text}" if head else text


def _add(sections: list[Turn], new: Turn, between: str) -> None:
    last = sections[-1] if sections else None
    if last and last.kind == new.kind:
        text = f"{last.text}{between}{new.text}"
        sections[-1] = Turn(new.kind, (*last.messages, *new.messages), text, last.number)
    else:
        sections.append(new)
