"""Compose: from a conversation to the one request that continues it.

Plain concatenation throughout: user text never meets a template language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from urial_core.completion import CompletionRequest
from urial_core.errors import ContextOverflowError, ConversationError, ParameterError
from urial_core.messages import Message
from urial_core.parameters import DEFAULT_MAX_TOKENS, GenerationParameters
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt import Prompt
from urial_core.prompts.turns import (
    Turn,
    group_turns,
    write_response_format,
    write_tools,
    write_turns,
)
from urial_core.structured.constraints import Choice, Constraint, JsonSchema
from urial_core.tools import Tool, ToolUse, call_start

__all__ = ["Overflow", "ReplyRequest", "compose", "compose_plain", "conversation_text"]

Overflow = Literal["error", "truncate"]
"""What to do with a conversation too long for the window: refuse it, or drop its oldest turns."""


MIN_REPLY_TOKENS = 64
"""The least room a reply must have where no ``max_tokens`` is set, in tokens."""


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """The model's context window, in tokens, and how its tokenizer counts a text."""

    window: int
    count: Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRequest(CompletionRequest):
    """The completion that begins a reply, and what decoding the reply needs besides.

    Attributes:
        tools: What the reply may call; None for no tools.
        response_format: The JSON schema that a reply in text must match.
        content_free_prompt: The same prompt with a query without content, to calibrate the choice
            between answer and call (contextual calibration, Zhao et al. 2021).
        truncated: Messages left out because the context window is too small.
    """

    tools: ToolUse | None = None
    response_format: JsonSchema | None = None
    content_free_prompt: str = ""
    truncated: tuple[Message, ...] = ()


def conversation_text(
    prompt: Prompt, messages: Sequence[Message], tools: Sequence[Tool] = ()
) -> str:
    """Write a conversation's sections and its tools alone, as they stand on the page."""
    return write_tools(tools, prompt.format) + write_turns(messages, prompt.format)


def compose(
    prompt: Prompt,
    messages: Sequence[Message],
    parameters: GenerationParameters | None = None,
    *,
    budget: TokenBudget | None = None,
    overflow: Overflow = "error",
    prefill: bool = False,
    tools: ToolUse | None = None,
    response_format: JsonSchema | None = None,
) -> ReplyRequest:
    """Write the page for a conversation and decide what its reply may take.

    Args:
        prompt: The constant part of the page.
        messages: The conversation, oldest first.
        parameters: How to sample.
        budget: The model's window and token count; None if unknown, and nothing is checked then.
        overflow: What to do when page and reply do not fit: "error", or "truncate" to drop the oldest
            turns (a turn is a query and all that answers it). Instruction, examples, system
            messages, tools and the last query always stay, and no call loses its result.
        prefill: Whether a final assistant message is the beginning of the reply, to be continued.
        tools: What the reply may call; None for no tools.
        response_format: The form that a reply in text must have.

    Raises:
        ConversationError: Nothing to answer: no text, an assistant message last without
            ``prefill``, or one with ``prefill`` where a call must come.
        ContextOverflowError: It does not fit, or not even its last turn does.
        ParameterError: A parameter is wrong.
    """
    if overflow not in get_args(Overflow):
        raise ParameterError(f"overflow is {overflow!r}: use 'error' or 'truncate'.")
    parameters = parameters or GenerationParameters()
    prompt_format = prompt.format
    sections = group_turns(messages)
    if not sections:
        raise ConversationError("There is nothing to answer: no message has any text.")
    beginning = _beginning(sections, prefill=prefill, must_call=bool(tools and tools.must_call))
    tools = tools if tools and tools.tools else None
    prefix = prompt.prefix_with_tools if tools else prompt.prefix
    tool_list = write_tools(tools.tools, prompt_format) if tools else ""
    ending = _ending(prompt, parameters, beginning, tools, response_format)
    written = [section.written(prompt_format) for section in sections]

    def page(kept: Sequence[int]) -> str:
        return prefix + tool_list + "".join(written[index] for index in kept) + ending.opened

    kept = list(range(len(sections)))
    max_tokens = _reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        turns = _droppable_turns(sections) if overflow == "truncate" else []
        while True:
            tokens = budget.count(page(kept) + ending.reserve)
            room = _reply_tokens(parameters.max_tokens, budget.window - tokens)
            if tokens + room <= budget.window:
                max_tokens = room
                break
            if not turns:
                parts = [
                    (f"prompt {prompt.name!r}", budget.count(prefix)),
                    ("tools", budget.count(tool_list)),
                ][: 2 if tool_list else 1] + [
                    (f"{sections[i].name} {sections[i].number}", budget.count(written[i]))
                    for i in kept
                ]
                raise ContextOverflowError(budget.window, tokens, room, parts)
            excess = tokens + room - budget.window
            while turns and excess > 0:
                turn = turns.pop(0)
                excess -= budget.count("".join(written[index] for index in turn))
                kept = [index for index in kept if index not in turn]

    truncated = (
        message
        for index, section in enumerate(sections)
        if index not in kept
        for message in section.messages
    )
    return ReplyRequest(
        prompt=page(kept),
        prefix_length=len(prefix),
        stop=ending.stop,
        parameters=parameters.replace(max_tokens=max_tokens),
        format=prompt_format,
        prefill=beginning,
        constraint=ending.constraint,
        tools=tools,
        response_format=response_format,
        content_free_prompt=(
            prefix
            + tool_list
            + prompt_format.turn("user", escape(query, prompt_format))
            + prompt_format.separator
            if ending.decides and (query := prompt.tool_examples.content_free_query)
            else ""
        ),
        truncated=tuple({id(message): message for message in truncated}.values()),
    )


def compose_plain(
    text: str,
    parameters: GenerationParameters | None = None,
    *,
    budget: TokenBudget | None = None,
) -> ReplyRequest:
    """Have a text continued as it is, with no page around it.

    Args:
        text: The text.
        parameters: How to sample.
        budget: The model's window and token count; None if unknown, and nothing is checked then.

    Raises:
        ContextOverflowError: It does not fit.
    """
    parameters = parameters or GenerationParameters()
    max_tokens = _reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        tokens = budget.count(text)
        max_tokens = _reply_tokens(parameters.max_tokens, budget.window - tokens)
        if tokens + max_tokens > budget.window:
            raise ContextOverflowError(budget.window, tokens, max_tokens, [("text", tokens)])
    return ReplyRequest(
        prompt=text,
        prefix_length=0,
        stop=parameters.stop,
        parameters=parameters.replace(max_tokens=max_tokens),
    )


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a page ends, and what may follow it.

    Attributes:
        opened: The page's end.
        stop: Strings at which an engine may stop.
        constraint: The form of what follows.
        reserve: What the reply's steps may put behind the page themselves.
    """

    opened: str
    stop: tuple[str, ...]
    constraint: Constraint | None = None
    reserve: str = ""

    @property
    def decides(self) -> bool:
        """Whether the model is to choose between an answer and a call."""
        return isinstance(self.constraint, Choice)


def _ending(
    prompt: Prompt,
    parameters: GenerationParameters,
    beginning: str,
    tools: ToolUse | None,
    response_format: JsonSchema | None,
) -> _Ending:
    prompt_format = prompt.format
    form = write_response_format(response_format, prompt_format)
    answer, call = prompt_format.open_turn("assistant"), prompt_format.open_turn("call")
    if not tools or not tools.callable or beginning:
        stop = (*prompt_format.stop, *parameters.stop)
        opened = form + answer + escape(beginning, prompt_format)
        whole = (
            response_format.with_additional_properties_forbidden()
            if response_format and not beginning
            else None
        )  # a rest is no whole value
        return _Ending(opened, stop, whole)
    # A rule for answers would draw the decision: it is written when an answer was decided.
    reserve = form + call + call_start(max((tool.name for tool in tools.callable), key=len))
    if tools.must_call:
        return _Ending(call, prompt_format.stop, None, reserve)
    headers = (
        answer.removeprefix(prompt_format.separator),
        call.removeprefix(prompt_format.separator),
    )
    decision = Choice(headers)
    return _Ending(prompt_format.separator, prompt_format.stop_after_header, decision, reserve)


def _beginning(sections: list[Turn], *, prefill: bool, must_call: bool) -> str:
    """Take the last section off, if it is the beginning of the reply; return its text."""
    if sections[-1].kind not in ("assistant", "call"):
        return ""
    if not prefill:
        raise ConversationError(
            "The conversation ends with an assistant message. Add a user message, or pass "
            "prefill=True to have that message continued."
        )
    if sections[-1].kind == "call" or must_call:
        raise ConversationError(
            "A reply that is or must be a tool call cannot be continued: leave out prefill=True, "
            "and let a tool's result follow each call."
        )
    return sections.pop().text


def _droppable_turns(sections: Sequence[Turn]) -> list[list[int]]:
    """The turns before the last one, oldest first, as indices of sections, system ones excepted."""
    turns: list[list[int]] = [[]]
    for index, section in enumerate(sections):
        if section.kind == "user" and turns[-1]:
            turns.append([])
        if section.kind != "system":
            turns[-1].append(index)
    return turns[:-1]


def _reply_tokens(max_tokens: int | None, room: int | None) -> int:
    """Return a reply's length limit, in tokens.

    Args:
        max_tokens: What the user set; kept as it is.
        room: What the window leaves beside the prompt; None if unknown.
    """
    if max_tokens is not None:
        return max_tokens
    if room is None:
        return DEFAULT_MAX_TOKENS
    return max(min(DEFAULT_MAX_TOKENS, room), MIN_REPLY_TOKENS)
