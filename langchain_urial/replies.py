"""Replies: translate the core's replies and errors to LangChain's."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.exceptions import ContextOverflowError as LangChainContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from urial_core import (
    InvalidToolCall,
    Reply,
    ReplyEnd,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from urial_core.call import response_metadata
from urial_core.composing import ReplyRequest
from urial_core.errors import ContextOverflowError
from urial_core.structured.json_scanner import JsonState, next_state

__all__ = [
    "PROVIDER",
    "ChatContextOverflowError",
    "event_chunk",
    "generation",
    "langchain_errors",
]

PROVIDER = "urial"
"""The name of this integration in a message's metadata and in ``init_chat_model``."""


class ChatContextOverflowError(ContextOverflowError, LangChainContextOverflowError):
    """The conversation does not fit the window; also LangChain's own class for that."""


@contextmanager
def langchain_errors() -> Generator[None]:
    """Raise LangChain's counterpart of an error, where it has one."""
    try:
        yield
    except ContextOverflowError as error:
        raise ChatContextOverflowError(
            error.window, error.prompt_tokens, error.max_tokens, error.parts, error.advice
        ) from error


def generation(reply: Reply, request: ReplyRequest, model_name: str) -> ChatGeneration:
    """Translate a whole reply."""
    invalid = reply.end.invalid_tool_calls
    metadata = _response_metadata(reply.end, request, model_name)
    if reply.logprobs:
        metadata["logprobs"] = _logprobs(reply.logprobs)
    message = AIMessage(
        content=reply.text,
        tool_calls=[
            tool_call(name=call.name, args=call.values, id=call.id)
            for call in (*reply.tool_calls, *(call.attempt for call in invalid if call.attempt))
        ],
        invalid_tool_calls=[
            invalid_tool_call(name=call.name, args=call.text, id=call.id, error=call.error)
            for call in invalid
            if call.attempt is None
        ],
        response_metadata=metadata,
        usage_metadata=_usage(reply.end.usage),
    )
    return ChatGeneration(message=message, generation_info=metadata)


def event_chunk(
    event: TextDelta | ToolCallDelta | ReplyEnd, request: ReplyRequest, model_name: str
) -> ChatGenerationChunk:
    """Translate an event of a streamed reply.

    LangChain concatenates the strings of merged chunks: so only the end has metadata, and only a
    call's first delta its name and id.
    """
    info: dict[str, Any] | None = None
    match event:
        case TextDelta():
            message = AIMessageChunk(content=event.text)
            info = {"logprobs": _logprobs(event.logprobs)} if event.logprobs else None
        case ToolCallDelta():
            delta = tool_call_chunk(
                name=event.name or None,
                args=event.arguments,
                id=event.id if event.name else None,
                index=event.index,
            )
            message = AIMessageChunk(content="", tool_call_chunks=[delta])
        case ReplyEnd():
            info = _response_metadata(event, request, model_name)
            message = AIMessageChunk(
                content="",
                tool_call_chunks=[
                    chunk for call in event.invalid_tool_calls for chunk in _invalid_chunks(call)
                ],
                response_metadata=info,
                usage_metadata=_usage(event.usage),
                chunk_position="last",
            )
    return ChatGenerationChunk(message=message, generation_info=info)


def _invalid_chunks(call: InvalidToolCall) -> list[ToolCallChunk]:
    """Make the chunks that have LangChain read a call as the same again, valid or not.

    LangChain completes arguments that are not JSON by guessing, and might so make a call after
    all. It never takes a string for arguments, nor what has a bracket too many.
    """
    valid = call.attempt
    if call.index is None:
        args = valid.arguments if valid else json.dumps(call.text)
        return [tool_call_chunk(name=call.name, args=args, id=call.id)]
    if valid:
        return []  # it was emitted
    return [tool_call_chunk(args=_invalidating(call.text), index=call.index)]


def _invalidating(arguments: str) -> str:
    """Return what makes a beginning of an object invalid: a list's end where none is open."""
    state: JsonState = "structure"
    for character in arguments:
        state = next_state(state, character)
    quote = {"escape": '\\"', "string": '"'}.get(state, "")
    return quote + "]" * (1 + arguments.count("["))


def _response_metadata(end: ReplyEnd, request: ReplyRequest, model_name: str) -> dict[str, Any]:
    named = {"model_name": model_name, "model_provider": PROVIDER}
    return {**response_metadata(end, request), **named}


def _usage(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    metadata = UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )
    if usage.cached_tokens is not None:
        metadata["input_token_details"] = InputTokenDetails(cache_read=usage.cached_tokens)
    return metadata


def _logprobs(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Write log-probabilities as the OpenAI API does."""
    return {
        "content": [
            {
                "token": item.token,
                "bytes": list(item.token.encode()),
                "logprob": item.logprob,
                "top_logprobs": [
                    {"token": token, "bytes": list(token.encode()), "logprob": logprob}
                    for token, logprob in item.top
                ],
            }
            for item in logprobs
        ]
    }
