"""Compose: from a conversation to the one request that continues it.

Plain concatenation throughout: user text never meets a template language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from urial_core.budget import TokenBudget, reply_tokens
from urial_core.constraint import JsonSchema
from urial_core.errors import ContextOverflowError, ConversationError, ParameterError
from urial_core.messages import Message
from urial_core.neutralise import neutralise
from urial_core.parameters import GenerationParameters
from urial_core.prompt import Prompt
from urial_core.request import Request
from urial_core.tools import ToolUse

__all__ = [
    "Overflow",
    "Section",
    "compose",
    "compose_plain",
    "conversation_text",
    "sections_of",
]

Overflow = Literal["error", "trim"]
"""What to do with a conversation too long for the window: refuse it, or drop its oldest turns."""


@dataclass(frozen=True, slots=True)
class Section:
    """Messages of one role that stand together on the page.

    Attributes:
        messages: The messages.
        text: What is written for them.
        number: The first one's place in the conversation, from 1.
    """

    messages: tuple[Message, ...]
    text: str
    number: int

    @property
    def role(self) -> Literal["system", "user", "assistant", "tool"]:
        """Whose section it is."""
        return self.messages[0].role


def sections_of(messages: Sequence[Message]) -> list[Section]:
    """Group a conversation into sections.

    Messages of one role that follow one another share a section, a blank line between them; tool
    results stay apart. Messages without text say nothing and are left out, tool results excepted.
    System messages stay where they are, since rules may change in mid-conversation.
    """
    sections = list[Section]()
    for number, message in enumerate(messages, 1):
        if not message.text.strip() and message.role != "tool":
            continue
        last = sections[-1] if sections else None
        if last and last.role == message.role and message.role != "tool":
            text = f"{last.text}\n\n{message.text}"
            sections[-1] = Section((*last.messages, message), text, last.number)
        else:
            named = message.name if message.role == "tool" else None
            text = f"{named}\n{message.text}" if named else message.text
            sections.append(Section((message,), text, number))
    return sections


def conversation_text(prompt: Prompt, messages: Sequence[Message]) -> str:
    """Write a conversation's sections alone, as they stand on the page."""
    return "".join(
        prompt.frame.section(section.role, neutralise(section.text, prompt.frame))
        for section in sections_of(messages)
    )


def compose(
    prompt: Prompt,
    messages: Sequence[Message],
    parameters: GenerationParameters | None = None,
    *,
    budget: TokenBudget | None = None,
    overflow: Overflow = "error",
    prefill: bool = False,
    tools: ToolUse | None = None,
    output: JsonSchema | None = None,
) -> Request:
    """Write the page for a conversation and decide what its reply may take.

    Args:
        prompt: The constant part of the page.
        messages: The conversation, oldest first.
        parameters: How to sample.
        budget: The model's window and token count; None if unknown, and nothing is checked then.
        overflow: What to do when page and reply do not fit: "error", or "trim" to drop the oldest
            turns (a turn is a query and all that answers it). Instruction, examples, system
            messages and the last query always stay.
        prefill: Whether a final assistant message is the beginning of the reply, to be continued.
        tools: What the reply may call; None for no tools.
        output: The form that a reply in text must have.

    Raises:
        ConversationError: Nothing to answer: no text, or an assistant message last without
            ``prefill``.
        ContextOverflowError: It does not fit, or not even its last turn does.
        ParameterError: A parameter is wrong.
    """
    if overflow not in get_args(Overflow):
        raise ParameterError(f"overflow is {overflow!r}: use 'error' or 'trim'.")
    parameters = parameters or GenerationParameters()
    sections = sections_of(messages)
    if not sections:
        raise ConversationError("There is nothing to answer: no message has any text.")
    if sections[-1].role == "assistant" and not prefill:
        raise ConversationError(
            "The conversation ends with an assistant message. Add a user message, or pass "
            "prefill=True to have that message continued."
        )
    beginning = sections.pop().text if sections[-1].role == "assistant" else ""
    opened = prompt.frame.open_section("assistant") + neutralise(beginning, prompt.frame)
    written = [
        prompt.frame.section(section.role, neutralise(section.text, prompt.frame))
        for section in sections
    ]

    def page(kept: Sequence[int]) -> str:
        return prompt.page + "".join(written[index] for index in kept) + opened

    kept = list(range(len(sections)))
    max_tokens = reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        turns = _droppable_turns(sections) if overflow == "trim" else []
        while True:
            tokens = budget.count(page(kept))
            room = reply_tokens(parameters.max_tokens, budget.window - tokens)
            if tokens + room <= budget.window:
                max_tokens = room
                break
            if not turns:
                parts = [(f"prompt {prompt.name!r}", budget.count(prompt.page))] + [
                    (
                        f"{sections[i].role} message {sections[i].number}",
                        budget.count(written[i]),
                    )
                    for i in kept
                ]
                raise ContextOverflowError(budget.window, tokens, room, parts)
            excess = tokens + room - budget.window
            while turns and excess > 0:
                turn = turns.pop(0)
                excess -= budget.count("".join(written[index] for index in turn))
                kept = [index for index in kept if index not in turn]

    return Request(
        prompt=page(kept),
        constant=len(prompt.page),
        stop=(*prompt.frame.stop, *parameters.stop),
        parameters=parameters.replace(max_tokens=max_tokens),
        frame=prompt.frame,
        prefill=beginning,
        tools=tools,
        output=output,
        dropped=tuple(
            message
            for index, section in enumerate(sections)
            if index not in kept
            for message in section.messages
        ),
    )


def compose_plain(
    text: str,
    parameters: GenerationParameters | None = None,
    *,
    budget: TokenBudget | None = None,
) -> Request:
    """Have a text continued as it is, with no page around it.

    Args:
        text: The text.
        parameters: How to sample.
        budget: The model's window and token count; None if unknown, and nothing is checked then.

    Raises:
        ContextOverflowError: It does not fit.
    """
    parameters = parameters or GenerationParameters()
    max_tokens = reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        tokens = budget.count(text)
        max_tokens = reply_tokens(parameters.max_tokens, budget.window - tokens)
        if tokens + max_tokens > budget.window:
            raise ContextOverflowError(budget.window, tokens, max_tokens, [("text", tokens)])
    return Request(
        prompt=text,
        constant=0,
        stop=parameters.stop,
        parameters=parameters.replace(max_tokens=max_tokens),
        frame=None,
    )


def _droppable_turns(sections: Sequence[Section]) -> list[list[int]]:
    """The turns before the last one, oldest first, as indices of sections, system ones excepted."""
    turns: list[list[int]] = [[]]
    for index, section in enumerate(sections):
        if section.role == "user" and turns[-1]:
            turns.append([])
        if section.role != "system":
            turns[-1].append(index)
    return turns[:-1]
