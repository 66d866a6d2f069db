"""Translate: LangChain's messages to the core's, the core's replies to LangChain's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from urial_core import Message, Reply, ReplyEnd, TextDelta, TokenLogprob, Usage
from urial_core.errors import ConversationError, UnsupportedContentError
from urial_core.messages import Role
from urial_core.request import Request

__all__ = [
    "PROVIDER",
    "core_messages",
    "delta_chunk",
    "end_chunk",
    "generation",
]

PROVIDER = "urial"
"""What this integration calls itself in metadata and traces."""

_ROLES: dict[str, Role] = {
    "assistant": "assistant",
    "ai": "assistant",
    "developer": "system",
    "human": "user",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
_SILENT_BLOCKS = ("thinking", "reasoning", "redacted_thinking")
"""Blocks that hold no part of what was said."""


def core_messages(messages: Sequence[BaseMessage]) -> list[Message]:
    """Translate a conversation.

    Raises:
        UnsupportedContentError: A message holds something other than text.
        ConversationError: A message is of an unknown kind.
    """
    return [
        Message(_role(message), _text(message), name=message.name if _is_tool(message) else None)
        for message in messages
    ]


def generation(reply: Reply, request: Request, model_name: str) -> ChatGeneration:
    """Translate a whole reply."""
    metadata = _response_metadata(reply.end, request, model_name)
    if reply.logprobs:
        metadata["logprobs"] = _logprobs(reply.logprobs)
    message = AIMessage(
        content=reply.text,
        response_metadata=metadata,
        usage_metadata=_usage(reply.end.usage),
    )
    return ChatGeneration(message=message, generation_info=metadata)


def delta_chunk(delta: TextDelta) -> ChatGenerationChunk:
    """Translate a piece of a reply."""
    info = {"logprobs": _logprobs(delta.logprobs)} if delta.logprobs else None
    return ChatGenerationChunk(message=AIMessageChunk(content=delta.text), generation_info=info)


def end_chunk(end: ReplyEnd, request: Request, model_name: str) -> ChatGenerationChunk:
    """Translate a reply's end: the one chunk with metadata, since strings add up in a merge."""
    message = AIMessageChunk(
        content="",
        response_metadata=_response_metadata(end, request, model_name),
        usage_metadata=_usage(end.usage),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message, generation_info=message.response_metadata)


def _role(message: BaseMessage) -> Role:
    match message:
        case SystemMessage():
            return "system"
        case HumanMessage():
            return "user"
        case AIMessage():
            return "assistant"
        case ToolMessage() | FunctionMessage():
            return "tool"
        case ChatMessage() if message.role.lower() in _ROLES:
            return _ROLES[message.role.lower()]
    kind = message.role if isinstance(message, ChatMessage) else type(message).__name__
    raise ConversationError(
        f"A message of the kind {kind!r} has no place in a conversation: use system, human, ai or "
        "tool messages."
    )


def _is_tool(message: BaseMessage) -> bool:
    return isinstance(message, (ToolMessage, FunctionMessage))


def _text(message: BaseMessage) -> str:
    if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
        raise UnsupportedContentError(
            "The conversation holds tool calls, and this version of ChatUrial does not write them. "
            "Leave those messages out, or put what the tool said into a human message."
        )
    if isinstance(message.content, str):
        return message.content
    parts = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block.get("text", "")))
        elif block.get("type") not in _SILENT_BLOCKS:
            raise UnsupportedContentError(
                f"A {message.type} message holds a block of type {block.get('type')!r}: base "
                "models read text only. Describe it in words, or take the block out."
            )
    return "\n".join(parts)


def _response_metadata(end: ReplyEnd, request: Request, model_name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "finish_reason": end.finish_reason,
        "end_reason": end.reason,
        "model_name": model_name,
        "model_provider": PROVIDER,
    }
    if end.stop is not None:
        metadata["stop_sequence"] = end.stop
    if request.dropped:
        metadata["dropped_messages"] = len(request.dropped)
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
