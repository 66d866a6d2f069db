"""Compose the request for a conversation: write its prompt, and decide what the reply may take.

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
    author_turn,
    group_turns,
    write_response_format,
    write_tools,
    write_turns,
)
from urial_core.structured.constraints import Choice, Constraint, JsonSchema
from urial_core.tools import Tool, ToolUse, call_start

__all__ = [
    "MIN_REPLY_TOKENS",
    "Overflow",
    "ReplyRequest",
    "TokenBudget",
    "compose",
    "compose_plain",
    "conversation_text",
]

Overflow = Literal["error", "truncate"]
"""What to do with a conversation too long for the context window: refuse it, or drop its oldest
exchanges (a user's message and all that answers it)."""

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
    """Return a conversation's turns and its tools as a prompt holds them, without the prefix."""
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
    """Compose the request for a conversation.

    Args:
        prompt: Instruction, few-shot examples and format.
        messages: The conversation, oldest first.
        parameters: How to sample.
        budget: The model's context window and token count; None if unknown, and nothing is checked
            then.
        overflow: What to do when prompt and reply do not fit: "error", or "truncate" to drop the
            oldest exchanges. Instruction, examples, system messages, tools and the last query
            always stay, and no call loses its result.
        prefill: Whether a final assistant message is the beginning of the reply, to be continued.
            Otherwise it is another's, such as another agent's, and the reply is a turn of its own.
        tools: What the reply may call; None for no tools.
        response_format: The JSON schema that a reply in text must match.

    Raises:
        ConversationError: There is nothing to answer, since no message has any text; or there is a
            ``prefill`` where a call must come.
        ContextOverflowError: It does not fit, or not even its last exchange does.
        ParameterError: A parameter is invalid.
    """
    if overflow not in get_args(Overflow):
        raise ParameterError(f"overflow is {overflow!r}: use 'error' or 'truncate'.")
    parameters = parameters or GenerationParameters()
    prompt_format = prompt.format
    turns = group_turns(messages)
    if not turns:
        raise ConversationError("There is nothing to answer: no message has any text.")
    reply_start = _take_prefill(turns, prefill=prefill, must_call=bool(tools and tools.must_call))
    tools = tools if tools and tools.tools else None
    prefix = prompt.prefix_with_tools if tools else prompt.prefix
    tool_list = write_tools(tools.tools, prompt_format) if tools else ""
    ending = _ending(prompt, parameters, reply_start, tools, response_format)
    written = [turn.written(prompt_format) for turn in turns]

    def text(kept: Sequence[int]) -> str:
        return prefix + tool_list + "".join(written[index] for index in kept) + ending.text

    kept = list(range(len(turns)))
    max_tokens = _reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        exchanges = _droppable_exchanges(turns) if overflow == "truncate" else []
        while True:
            tokens = budget.count(text(kept) + ending.reserve)
            max_tokens = _reply_tokens(parameters.max_tokens, budget.window - tokens)
            excess = tokens + max_tokens - budget.window
            if excess <= 0:
                break
            if not exchanges:
                parts = {f"prompt {prompt.name!r}": prefix}
                parts |= {"tools": tool_list} if tool_list else {}
                parts |= {f"{turns[i].name} {turns[i].number}": written[i] for i in kept}
                raise ContextOverflowError(
                    budget.window,
                    tokens,
                    max_tokens,
                    [(name, budget.count(part)) for name, part in parts.items()],
                )
            while exchanges and excess > 0:
                exchange = exchanges.pop(0)
                excess -= budget.count("".join(written[index] for index in exchange))
                kept = [index for index in kept if index not in exchange]

    content_free_query = prompt.tool_examples.content_free_query if ending.decides else ""
    truncated = [turns[index].messages for index in range(len(turns)) if index not in kept]
    return ReplyRequest(
        prompt=text(kept),
        prefix_length=len(prefix),
        stop=ending.stop,
        parameters=parameters.replace(max_tokens=max_tokens),
        format=prompt_format,
        prefill=reply_start,
        constraint=ending.constraint,
        tools=tools,
        response_format=response_format,
        content_free_prompt=(
            prefix
            + tool_list
            + prompt_format.turn("user", escape(content_free_query, prompt_format))
            + prompt_format.separator
            if content_free_query
            else ""
        ),
        truncated=tuple({id(one): one for group in truncated for one in group}.values()),
    )


def compose_plain(
    text: str,
    parameters: GenerationParameters | None = None,
    *,
    budget: TokenBudget | None = None,
) -> ReplyRequest:
    """Compose the request that has a text continued as it is, with no prompt around it.

    Args:
        text: The text.
        parameters: How to sample.
        budget: The model's context window and token count; None if unknown, and nothing is checked
            then.

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
    """How a prompt ends, and what may follow it.

    Attributes:
        text: The prompt's end.
        stop: Strings at which an engine may stop.
        constraint: What the completion must match.
        reserve: What the reply's steps may add to the prompt, to be counted with it.
    """

    text: str
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
    prefill: str,
    tools: ToolUse | None,
    response_format: JsonSchema | None,
) -> _Ending:
    prompt_format = prompt.format
    rule = write_response_format(response_format, prompt_format)
    answer, call = prompt_format.open_turn("assistant"), prompt_format.open_turn("call")
    if not tools or not tools.callable or prefill:
        constraint = None
        if response_format and not prefill:  # the rest of a prefill is no whole value
            constraint = response_format.with_additional_properties_forbidden()
        text = rule + answer + escape(prefill, prompt_format)
        return _Ending(text, (*prompt_format.stop, *parameters.stop), constraint)
    # A rule about answers would bias the choice: it is written once an answer was chosen.
    reserve = rule + call + call_start(max((tool.name for tool in tools.callable), key=len))
    if tools.must_call:
        return _Ending(call, prompt_format.stop, None, reserve)
    separator = prompt_format.separator
    choice = Choice((answer.removeprefix(separator), call.removeprefix(separator)))
    return _Ending(separator, prompt_format.stop_after_header, choice, reserve)


def _take_prefill(turns: list[Turn], *, prefill: bool, must_call: bool) -> str:
    """Take the last turn off if it is the beginning of the reply; return its text."""
    last = turns[-1]
    if not prefill or last.messages[-1].role != "assistant":
        return ""
    if last.kind != "assistant" or must_call:
        raise ConversationError(
            "A reply that is or must be a tool call cannot be continued: leave out prefill=True, "
            "and let a tool's result follow each call."
        )
    turns.pop()
    if last.author:
        turns.append(author_turn(last.author, last.number))
    return last.text


def _droppable_exchanges(turns: Sequence[Turn]) -> list[list[int]]:
    """Return all exchanges but the last, oldest first, as indices of turns without system ones."""
    exchanges: list[list[int]] = [[]]
    for index, turn in enumerate(turns):
        if turn.kind == "user" and exchanges[-1]:
            exchanges.append([])
        if turn.kind != "system":
            exchanges[-1].append(index)
    return exchanges[:-1]


def _reply_tokens(max_tokens: int | None, room: int | None) -> int:
    """Return a reply's length limit, in tokens.

    Args:
        max_tokens: What the user set; kept as it is.
        room: What the context window leaves beside the prompt; None if unknown.
    """
    if max_tokens is not None:
        return max_tokens
    if room is None:
        return DEFAULT_MAX_TOKENS
    return max(min(DEFAULT_MAX_TOKENS, room), MIN_REPLY_TOKENS)
