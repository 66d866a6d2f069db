"""Compose the request for a conversation: write its prompt, and decide what the reply may take.

Plain concatenation throughout: user text never meets a template language.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

from urial_core.completion import CompletionRequest
from urial_core.errors import ContextOverflowError, ConversationError, ParameterError
from urial_core.messages import Message
from urial_core.parameters import DEFAULT_MAX_TOKENS, GenerationParameters
from urial_core.prompts.escaping import encodable, escape
from urial_core.prompts.prompt import Example, Prompt
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.template_stops import TemplateStops, template_stops
from urial_core.prompts.turns import (
    Turn,
    author_turn,
    group_turns,
    question_again,
    write_response_format,
    write_tools,
    write_turns,
)
from urial_core.structured.constraints import Choice, Constraint, JsonSchema
from urial_core.structured.grammar import grammar_schema
from urial_core.tools import Tool, ToolUse, call_start
from urial_core.truncation import truncate

__all__ = [
    "MIN_REPLY_TOKENS",
    "Overflow",
    "ReplyRequest",
    "TokenBudget",
    "compose",
    "compose_plain",
    "conversation_text",
    "overhead_text",
]

Overflow = Literal["error", "truncate"]
"""What to do with a conversation too long for the context window: refuse it, or leave out its
oldest exchanges, then the middle of texts that are too long (``urial_core.truncation``)."""

_SHORT_PROMPTS = ("short", "instruction_only")
"""Presets that are not advised to be replaced by a shorter one."""

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
        question_again: The turn that repeats the question before an answer from long tool results.
        content_free_prompt: The same prompt with a query without content, to calibrate the choice
            between answer and call (contextual calibration, Zhao et al. 2021).
        conversation: The messages that are answered, for strategies that ask other models.
        examples: Those that were chosen for this conversation and fit.
        truncated: Messages left out, or cut, because the context window is too small.
    """

    tools: ToolUse | None = None
    response_format: JsonSchema | None = None
    question_again: str = ""
    content_free_prompt: str = ""
    conversation: tuple[Message, ...] = ()
    examples: tuple[Example, ...] = ()
    truncated: tuple[Message, ...] = ()

    @property
    def question(self) -> str:
        """The text of the last user message."""
        asked = [message.text for message in self.conversation if message.role == "user"]
        return asked[-1] if asked else ""


def conversation_text(
    prompt: Prompt, messages: Sequence[Message], tools: Sequence[Tool] = ()
) -> str:
    """Return a conversation's turns and its tools as a prompt holds them, without the prefix."""
    return write_tools(tools, prompt.format) + write_turns(messages, prompt.format)


def overhead_text(prompt: Prompt, *, with_tools: bool) -> str:
    """Return what a prompt holds beside the texts of a conversation and the tools' descriptions.

    That is the prefix, and what is written around a system message, a query and the reply. A
    limit for conversations leaves it out of the context window. What depends on the call is not in
    it: the schema of a response format, and a question that is repeated after long tool results.

    Args:
        prompt: The prompt.
        with_tools: Whether replies may call tools: the prompt then holds the tool examples too,
            the turn that lists the tools, and a call's beginning in place of an answer's.
    """
    prompt_format = prompt.format
    turns = prompt_format.turn("system", "") + prompt_format.turn("user", "")
    if not with_tools:
        return prompt.prefix + turns + prompt_format.open_turn("assistant")
    call = prompt_format.separator + prompt_format.open_turn("call") + call_start("")
    return prompt.prefix_with_tools + prompt_format.turn("tools", "") + turns + call


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
    stop_at_template: bool = True,
    examples: Sequence[Example] = (),
) -> ReplyRequest:
    """Compose the request for a conversation.

    Args:
        prompt: Instruction, few-shot examples and format.
        messages: The conversation, oldest first.
        parameters: How to sample.
        budget: The model's context window and token count; None if unknown, and nothing is checked
            then.
        overflow: What to do when prompt and reply do not fit: "error", or "truncate" to drop the
            oldest exchanges, then to cut the middle out of texts that are too long by themselves.
            Instruction, examples and tools always stay, and no call loses its result.
        prefill: Whether a final assistant message is the beginning of the reply, to be continued.
            Otherwise it is another's, such as another agent's, and the reply is a turn of its own.
        tools: What the reply may call; None for no tools.
        response_format: The JSON schema that a reply in text must match.
        stop_at_template: Whether the reply ends where it would continue a text template in the
            last user message (``urial_core.prompts.template_stops``).
        examples: Further examples, chosen for this conversation. They follow the constant prefix
            and the tools; the last ones are left out where prompt and reply would not fit.

    Raises:
        ConversationError: There is nothing to answer, since no message has any text; or there is a
            ``prefill`` where a call must come.
        ContextOverflowError: It does not fit, or not even its last exchange does, cut short.
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
    again = question_again(messages, prompt_format) if ending.decides else ""

    start = prefix + tool_list

    def text(kept: Sequence[Turn]) -> str:
        return start + "".join(turn.written(prompt_format) for turn in kept) + ending.text

    if examples:
        room = budget and budget.window - _reply_tokens(parameters.max_tokens, None)
        rest = text(turns).removeprefix(start) + ending.reserve + again
        while (
            budget
            and examples
            and budget.count(start + _written(examples, prompt_format) + rest) > (room or 0)
        ):
            examples = examples[:-1]
        start += _written(examples, prompt_format)

    kept: Sequence[Turn] = turns
    max_tokens = _reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        kept, tokens, max_tokens = _fitted(
            turns,
            lambda kept: text(kept) + ending.reserve + again,
            budget,
            parameters.max_tokens,
            overflow,
            prompt_format=prompt_format,
        )
        if tokens + max_tokens > budget.window:
            parts = {f"prompt {prompt.name!r}": prefix}
            parts |= {"tools": tool_list} if tool_list else {}
            parts |= {f"{turn.name} {turn.number}": turn.written(prompt_format) for turn in kept}
            counts = [(name, budget.count(part)) for name, part in parts.items()]
            advice = _advice(overflow, prompt, has_tools=bool(tool_list))
            raise ContextOverflowError(budget.window, tokens, max_tokens, counts, advice)

    own = [(prompt.prefix, True), (start.removeprefix(prompt.prefix), False)]
    own += [(turn.written(prompt_format), turn.kind == "assistant") for turn in kept]
    content_free_query = prompt.tool_examples.content_free_query if ending.decides else ""
    whole = {id(turn) for turn in kept}
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
        question_again=again,
        content_free_prompt=(
            start
            + prompt_format.turn("user", escape(content_free_query, prompt_format))
            + prompt_format.separator
            if content_free_query
            else ""
        ),
        template=_template_of(prompt, turns) if stop_at_template else None,
        own_spans=_spans(own),
        conversation=_messages_of(kept, messages),
        examples=tuple(examples),
        truncated=_messages_of([turn for turn in turns if id(turn) not in whole], messages),
    )


def _advice(overflow: Overflow, prompt: Prompt, *, has_tools: bool) -> str:
    """Return what helps where a request does not fit."""
    steps = ["lower max_tokens"]
    if prompt.name not in _SHORT_PROMPTS:
        steps.append("choose a shorter prompt (such as 'short')")
    if overflow == "error":
        return (
            f"Shorten the conversation (a memory by its token_limit), {', '.join(steps)}, or pass "
            "overflow='truncate' to drop the oldest exchanges and cut texts that are too long."
        )
    if has_tools:
        steps.append("pass fewer tools")
    return (
        f"All that can be left out is left out already: {', '.join(steps)}, or use a model with a "
        "larger window."
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
    text = encodable(text)
    parameters = parameters or GenerationParameters()
    max_tokens = _reply_tokens(parameters.max_tokens, None)
    if budget is not None:
        tokens = budget.count(text)
        max_tokens = _reply_tokens(parameters.max_tokens, budget.window - tokens)
        if tokens + max_tokens > budget.window:
            parts, advice = [("text", tokens)], "Shorten the text, or lower max_tokens."
            raise ContextOverflowError(budget.window, tokens, max_tokens, parts, advice)
    return ReplyRequest(
        prompt=text,
        prefix_length=0,
        stop=parameters.stop,
        parameters=parameters.replace(max_tokens=max_tokens),
        conversation=(Message("user", text),),
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
            constraint = grammar_schema(response_format, parameters.value_limits).schema
        text = rule + answer + escape(prefill, prompt_format)
        return _Ending(text, (*prompt_format.stop, *parameters.stop), constraint)
    # A rule about answers would bias the choice: it is written once an answer was chosen.
    start = call_start(max((tool.name for tool in tools.callable), key=len))
    if tools.must_call:
        return _Ending(call, prompt_format.stop, None, rule + start)
    separator = prompt_format.separator
    choice = Choice((answer.removeprefix(separator), call.removeprefix(separator)))
    return _Ending(separator, prompt_format.stop_after_header, choice, rule + call + start)


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


def _fitted(
    turns: Sequence[Turn],
    write: Callable[[Sequence[Turn]], str],
    budget: TokenBudget,
    max_tokens: int | None,
    overflow: Overflow,
    *,
    prompt_format: PromptFormat,
) -> tuple[Sequence[Turn], int, int]:
    """Return the turns to write, and the tokens of their prompt and of the reply."""

    def measured(kept: Sequence[Turn]) -> tuple[int, int]:
        tokens = budget.count(write(kept))
        return tokens, _reply_tokens(max_tokens, budget.window - tokens)

    tokens, reply = measured(turns)
    if overflow == "truncate" and tokens + reply > budget.window:
        turns = truncate(
            turns,
            lambda kept: sum(measured(kept)) - budget.window,
            lambda turn: budget.count(turn.written(prompt_format)),
        )
        tokens, reply = measured(turns)
    return turns, tokens, reply


def _messages_of(turns: Sequence[Turn], messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages of turns in their order, each once: its text and calls are two turns."""
    written = {id(message) for turn in turns for message in turn.messages}
    return tuple(message for message in messages if id(message) in written)


def _written(examples: Sequence[Example], prompt_format: PromptFormat) -> str:
    """Return examples from outside as a prompt holds them, escaped so that they forge no turn."""
    return "".join(
        prompt_format.turn("user", escape(example.query, prompt_format))
        + prompt_format.turn("assistant", escape(example.answer, prompt_format))
        for example in examples
    )


def _spans(parts: Sequence[tuple[str, bool]]) -> tuple[tuple[int, int], ...]:
    """Return where the marked parts of a text start and end in it."""
    ends = list(accumulate(len(text) for text, _ in parts))
    return tuple(
        (end - len(text), end)
        for (text, marked), end in zip(parts, ends, strict=True)
        if marked and text
    )


def _template_of(prompt: Prompt, turns: Sequence[Turn]) -> TemplateStops | None:
    """Return the stops of the text template that the reply answers, if it is one."""
    asked = [turn.text for turn in turns if turn.kind == "user"]
    return template_stops(
        asked[-1] if asked else "",
        [turn.text for turn in turns if turn.kind == "system"],
        [example.query for example in prompt.examples],
    )


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
