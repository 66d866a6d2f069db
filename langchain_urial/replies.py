"""Replies: what the core's model wrote, as LangChain's messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

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
from urial_core.composing import ReplyRequest

__all__ = ["PROVIDER", "delta_chunk", "end_chunk", "generation"]

PROVIDER = "urial"
"""What this integration calls itself in metadata and traces."""


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


def delta_chunk(delta: TextDelta | ToolCallDelta) -> ChatGenerationChunk:
    """Translate a piece of a reply."""
    if isinstance(delta, ToolCallDelta):
        first = bool(delta.name)  # name and id come once, since strings add up in a merge
        piece = tool_call_chunk(
            name=delta.name or None,
            args=delta.arguments,
            id=delta.id if first else None,
            index=delta.index,
        )
        return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))
    info = {"logprobs": _logprobs(delta.logprobs)} if delta.logprobs else None
    return ChatGenerationChunk(message=AIMessageChunk(content=delta.text), generation_info=info)


def end_chunk(end: ReplyEnd, request: ReplyRequest, model_name: str) -> ChatGenerationChunk:
    """Translate a reply's end: the one chunk with metadata, since strings add up in a merge."""
    message = AIMessageChunk(
        content="",
        tool_call_chunks=[_invalid_chunk(call) for call in end.invalid_tool_calls],
        response_metadata=_response_metadata(end, request, model_name),
        usage_metadata=_usage(end.usage),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message, generation_info=message.response_metadata)


def _invalid_chunk(call: InvalidToolCall) -> ToolCallChunk:
    """The chunk that LangChain reads as the same call again, valid or not.

    It completes arguments that are no JSON by guessing, so that a call might be made of them after
    all. A string is never taken for arguments.
    """
    valid = call.attempt
    return tool_call_chunk(
        name=call.name, args=valid.arguments if valid else json.dumps(call.text), id=call.id
    )


def _response_metadata(end: ReplyEnd, request: ReplyRequest, model_name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "finish_reason": end.finish_reason,
        "end_reason": end.reason,
        "model_name": model_name,
        "model_provider": PROVIDER,
    }
    if end.stop is not None:
        metadata["stop_sequence"] = end.stop
    if request.truncated:
        metadata["truncated_messages"] = len(request.truncated)
    if end.validation_error:
        metadata["validation_error"] = end.validation_error
    return metadata


def _usage(usage: Usage | None) -> UsageMetadata | None:
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens),
    )


def _logprobs(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The shape of the OpenAI API."""
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
