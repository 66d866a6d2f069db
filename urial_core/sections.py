"""Sections: a conversation's messages as they stand on the page.

Plain concatenation throughout: nobody's text ever meets a template language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urial_core.constraint import JsonSchema
from urial_core.frame import Frame, SectionKind
from urial_core.messages import Message
from urial_core.neutralise import neutralise
from urial_core.schema import compact
from urial_core.tools import Tool

__all__ = [
    "Section",
    "output_section",
    "result_text",
    "sections_of",
    "sections_text",
    "tools_section",
]


@dataclass(frozen=True, slots=True)
class Section:
    """What stands together on the page under one header.

    Attributes:
        kind: Which header.
        messages: The messages it is written for.
        text: What is written for them.
        number: The first one's place in the conversation, from 1.
    """

    kind: SectionKind
    messages: tuple[Message, ...]
    text: str
    number: int

    @property
    def name(self) -> str:
        """What to call it in an error."""
        return {"call": "tool call", "tool": "tool result"}.get(self.kind, f"{self.kind} message")

    def written(self, frame: Frame) -> str:
        """It as it stands on the page, unable to forge another."""
        return frame.section(self.kind, neutralise(self.text, frame))


def sections_of(messages: Sequence[Message]) -> list[Section]:
    """Group a conversation into sections.

    Messages of one role that follow one another share a section, a blank line between them; calls
    share one too, a line each; tool results stay apart. What a message does not say is left out,
    tool results excepted. System messages stay where they are, since rules may change in
    mid-conversation.
    """
    sections = list[Section]()
    called = dict[str, str]()
    for number, message in enumerate(messages, 1):
        if message.role == "tool":
            name = message.name or called.get(message.tool_call_id or "")
            text = result_text(name, message.text, failed=message.failed)
            sections.append(Section("tool", (message,), text, number))
            continue
        if message.text.strip():
            _add(sections, Section(message.role, (message,), message.text, number), "\n\n")
        if message.tool_calls:
            called |= {call.id: call.name for call in message.tool_calls}
            lines = "\n".join(call.line for call in message.tool_calls)
            _add(sections, Section("call", (message,), lines, number), "\n")
    return sections


def sections_text(messages: Sequence[Message], frame: Frame) -> str:
    """A conversation's sections alone, as they stand on the page."""
    return "".join(section.written(frame) for section in sections_of(messages))


def tools_section(tools: Sequence[Tool], frame: Frame) -> str:
    """The section that lists tools, a line each; nothing if there are none."""
    text = "\n".join(tool.line for tool in tools)
    return frame.section("tools", neutralise(text, frame)) if tools else ""


def output_section(output: JsonSchema | None, frame: Frame) -> str:
    """The section with the rule in what form to answer; nothing if there is none."""
    if output is None:
        return ""
    rule = f"Answer with JSON only, in the form of this JSON schema: {compact(output.schema)}"
    return frame.section("system", neutralise(rule, frame))


def result_text(name: str | None, text: str, *, failed: bool) -> str:
    """What the section of a tool's result says."""
    mark = "error" if failed else ""
    head = f"{name} ({mark})" if name and mark else name or mark
    return f"{head}\n{text}" if head else text


def _add(sections: list[Section], new: Section, between: str) -> None:
    last = sections[-1] if sections else None
    if last and last.kind == new.kind:
        text = f"{last.text}{between}{new.text}"
        sections[-1] = Section(new.kind, (*last.messages, *new.messages), text, last.number)
    else:
        sections.append(new)
