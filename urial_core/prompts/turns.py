"""Turns: a conversation's messages as a prompt holds them, each under its header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from urial_core.messages import Message
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt_format import PromptFormat, TurnKind
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_schema import compact
from urial_core.tools import Tool, ToolCall

__all__ = [
    "Turn",
    "answered_calls",
    "author_turn",
    "group_turns",
    "question_again",
    "result_text",
    "write_response_format",
    "write_tools",
    "write_turns",
]

_FAR = 4
"""How many times longer than the question results are behind which it is repeated."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a prompt holds under one header.

    Attributes:
        kind: Which header.
        messages: The messages that it is written for.
        text: Their text.
        number: The first one's position in the conversation, from 1.
        author: Who of several in this role wrote it; empty if unnamed.
    """

    kind: TurnKind
    messages: tuple[Message, ...]
    text: str
    number: int
    author: str = ""

    @property
    def name(self) -> str:
        """The turn's name in an error."""
        return {"call": "tool call", "tool": "tool result"}.get(self.kind, f"{self.kind} message")

    def written(self, prompt_format: PromptFormat) -> str:
        """Return the turn as the prompt holds it, escaped so that it cannot forge another.

        Its author is named in a turn before it. Within the turn, a model would begin its own reply
        with a name too, and a text could pass for another author's.
        """
        author = author_turn(self.author, self.number).written(prompt_format) if self.author else ""
        return author + prompt_format.turn(self.kind, escape(self.text, prompt_format))


def group_turns(messages: Sequence[Message]) -> list[Turn]:
    """Group a conversation into turns.

    Consecutive messages of one author in one role share a turn, with a blank line between them;
    the calls of a message share one too, a line each, whose author is named where the conversation
    has several. Their results follow in the order of the
    calls, each in a turn of its own, wherever the conversation holds them; a call without a result
    is marked. Messages without text are left out, tool results excepted. System messages stay where
    they are, since rules may change in mid-conversation.
    """
    turns = list[Turn]()
    called = dict[str, str]()
    has_authors = len({message.name for message in messages if message.role == "assistant"}) > 1
    result_of = _results(messages)
    placed = set(result_of.values())
    for index, message in enumerate(messages):
        if message.role == "tool":
            if index not in placed:
                name = message.name or called.get(message.tool_call_id or "")
                turns.append(_result_turn(message, name, index))
            continue
        author = message.name or ""
        if message.text.strip():
            _add(turns, Turn(message.role, (message,), message.text, index + 1, author))
            author = ""  # named already, should calls follow
        if message.tool_calls:
            author = author if has_authors else ""
            called |= {call.id: call.name for call in message.tool_calls}
            lines = "\n".join(call.line for call in message.tool_calls)
            turns.append(Turn("call", (message,), lines, index + 1, author))
        for position, call in enumerate(message.tool_calls):
            if (found := result_of.get((index, position))) is not None:
                result = messages[found]
                name = result.name or (call.name if result.tool_call_id else None)
                turns.append(_result_turn(result, name, found))
            else:
                text = f"{call.name} (no result yet)"
                turns.append(Turn("tool", (message,), text, index + 1))
    return turns


def answered_calls(messages: Sequence[Message]) -> list[ToolCall]:
    """Return the calls that have results, as a model writes them, since the last other message.

    Behind a question, or an answer of this or another agent, the same call may be meant anew; a
    rule may stand behind each result. A call that failed counts only from its second result on:
    trying again once may help. One whose result was cleared does not count.
    """
    since = max((i for i, message in enumerate(messages) if _is_other(message)), default=-1)
    answered, failed = list[ToolCall](), list[ToolCall]()
    for (index, position), result in sorted(_results(messages).items()):
        if index <= since or messages[result].cleared:
            continue
        made = messages[index].tool_calls[position]
        call = ToolCall.of(made.name, made.values, made.id)
        if messages[result].failed and not any(map(call.repeats, failed)):
            failed.append(call)
        else:
            answered.append(call)
    return answered


def question_again(messages: Sequence[Message], prompt_format: PromptFormat) -> str:
    """Return the last user message as a turn, if much longer tool results follow; else nothing.

    Small models answer what is near, and behind several passages they lose the question.
    """
    asked = _last_question(messages)
    question = messages[asked].text if asked >= 0 else ""
    results = sum(len(message.text) for message in messages[asked + 1 :] if message.role == "tool")
    if not question.strip() or results < _FAR * len(question):
        return ""
    return prompt_format.turn("user", escape(question, prompt_format))


def _last_question(messages: Sequence[Message]) -> int:
    """Return the index of the last user message, or -1."""
    return max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)


def _is_other(message: Message) -> bool:
    """Return whether a message asks or answers, without a call."""
    is_said = message.role in ("user", "assistant") and bool(message.text.strip())
    return is_said and not message.tool_calls


def author_turn(author: str, number: int) -> Turn:
    """Return the turn that names the author of what follows.

    Args:
        author: The name.
        number: The position of what follows in the conversation, from 1.
    """
    return Turn("system", (), f"From: {author}", number)


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


def _result_turn(message: Message, name: str | None, index: int) -> Turn:
    text = result_text(name, message.text, failed=message.failed)
    return Turn("tool", (message,), text, index + 1)


def _results(messages: Sequence[Message]) -> dict[tuple[int, int], int]:
    """Find each call's result: by its id, or without one by its place.

    Ids may be used again. So a result belongs to the latest message with a call that it may answer
    and that has no result yet, and there to the first such call.

    Returns:
        The results' indices, by the indices of the calls' messages and of the calls in these.
    """
    found = dict[tuple[int, int], int]()
    without_result = list[tuple[int, int]]()
    for index, message in enumerate(messages):
        if message.role != "tool":
            without_result += [(index, position) for position in range(len(message.tool_calls))]
            continue
        matches = [
            place
            for place in without_result
            if _may_answer(message, messages[place[0]].tool_calls[place[1]])
        ]
        if matches:
            latest = next(place for place in matches if place[0] == matches[-1][0])
            without_result.remove(latest)
            found[latest] = index
    return found


def _may_answer(result: Message, call: ToolCall) -> bool:
    return not result.tool_call_id or result.tool_call_id == call.id


def _add(turns: list[Turn], new: Turn) -> None:
    last = turns[-1] if turns else None
    if last and (last.kind, last.author) == (new.kind, new.author):
        text = f"{last.text}\n\n{new.text}"
        turns[-1] = Turn(new.kind, (*last.messages, *new.messages), text, last.number, new.author)
    else:
        turns.append(new)
