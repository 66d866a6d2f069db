"""Replies: the events of a stream, and the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from urial_core.completion import TokenLogprob, Usage
from urial_core.tools import InvalidToolCall, ToolCall

__all__ = ["EndReason", "FinishReason", "Reply", "ReplyEnd", "TextDelta", "ToolCallDelta"]

FinishReason = Literal["stop", "length", "tool_calls"]
"""Why a reply is over, in the words of the OpenAI API."""

EndReason = Literal["delimiter", "end_of_text", "stop_string", "template", "length", "tool_calls"]
"""What exactly ended a reply: the delimiter, the model's end-of-text token, a stop sequence of the
user's, text that would continue the message's template, ``max_tokens``, or the tool calls that it
asks for."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the reply's text; never empty, never retracted."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a tool call. Never retracted.

    Attributes:
        index: Which of the reply's calls, from 0.
        id: The call's id.
        name: The tool's name: in the call's first delta; empty in the others.
        arguments: More of the arguments' JSON text; may be empty in the first.
    """

    index: int
    id: str
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """The end of a reply; the last event of every stream.

    Attributes:
        reason: What ended it.
        stop: The user's stop string that ended it, if one did.
        usage: Tokens of prompt and completion.
        invalid_tool_calls: Calls that the model wrote and that are invalid.
        validation_error: What is wrong with an answer that does not match its response format;
            empty if it matches.
        attempts: How often the reply was begun: twice if the first attempt was empty or invalid.
        decoding: What a decoding strategy did: its name, how many samples there were, which was
            chosen and why. None without a strategy.
    """

    reason: EndReason
    stop: str | None = None
    usage: Usage | None = None
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()
    validation_error: str = ""
    attempts: int = 1
    decoding: Mapping[str, Any] | None = None

    @property
    def finish_reason(self) -> FinishReason:
        """The reason as the OpenAI API names it."""
        return self.reason if self.reason in ("length", "tool_calls") else "stop"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply.

    Attributes:
        text: Its text; empty if it only calls tools.
        end: How it ended.
        logprobs: Its tokens' log-probabilities, if asked for.
        tool_calls: The calls it asks for.
    """

    text: str
    end: ReplyEnd
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
