"""Translate: LlamaIndex's messages to the core's, the core's replies to LlamaIndex's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from urial_core import Message, ReplyEnd, TokenLogprob, ToolCall
from urial_core.composing import ReplyRequest
from urial_core.errors import UnsupportedContentError
from urial_core.messages import Role
from urial_core.tools import new_call_id

__all__ = ["core_messages", "logprobs_of", "raw_of", "reply_message"]

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_SILENT_BLOCKS = (ThinkingBlock, CachePoint)
"""Blocks that hold no part of what was said."""

_ESCAPED_SCHEMA = re.compile(r"(schema to follow:\n)(\{\{.*\}\})(\n)", re.DOTALL)
"""A schema as ``PydanticOutputParser.format`` writes it: for a template that nobody fills in."""


def core_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Translate a conversation.

    Raises:
        UnsupportedContentError: A message holds something other than text and tool calls.
    """
    return [_message(message) for message in messages]


def reply_message(text: str, calls: Sequence[ToolCall] = ()) -> ChatMessage:
    """The assistant's message, or what there is of it so far.

    Calls stand in it twice, as blocks and in ``additional_kwargs``: LlamaIndex's agents read the
    former, its streamed programs the latter.
    """
    blocks: list[ContentBlock] = [TextBlock(text=text)] if text or not calls else []
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=_kwargs(call))
        for call in calls
    ]
    additional = {
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    }
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=blocks,
        additional_kwargs=additional if calls else {},
    )


def raw_of(end: ReplyEnd, request: ReplyRequest, model_name: str) -> dict[str, Any]:
    """What is known of a whole reply, in the OpenAI API's words, which LlamaIndex looks for."""
    raw: dict[str, Any] = {
        "model": model_name,
        "finish_reason": end.finish_reason,
        "end_reason": end.reason,
    }
    if end.stop is not None:
        raw["stop_sequence"] = end.stop
    if request.truncated:
        raw["truncated_messages"] = len(request.truncated)
    if end.validation_error:
        raw["validation_error"] = end.validation_error
    if end.usage is not None:
        raw["usage"] = {
            "prompt_tokens": end.usage.input_tokens,
            "completion_tokens": end.usage.output_tokens,
            "total_tokens": end.usage.input_tokens + end.usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": end.usage.cached_tokens},
        }
    if end.invalid_tool_calls:
        raw["invalid_tool_calls"] = [
            {"id": call.id, "name": call.name, "text": call.text, "error": call.error}
            for call in end.invalid_tool_calls
        ]
    return raw


def logprobs_of(logprobs: Iterable[TokenLogprob]) -> list[list[LogProb]] | None:
    """Log-probabilities, for each token its own first and then the alternatives."""
    found = [
        [
            LogProb(token=token, logprob=value, bytes=list(token.encode()))
            for token, value in ((item.token, item.logprob), *item.top)
        ]
        for item in logprobs
    ]
    return found or None


def _message(message: ChatMessage) -> Message:
    role = _ROLES[message.role]
    said = message.additional_kwargs
    calls = tuple(_block_calls(message.blocks)) or tuple(_said_calls(said.get("tool_calls")))
    is_tool = role == "tool"
    return Message(
        role,
        _unescaped_schema("\n".join(_texts(message.blocks, message.role))),
        name=_text_or_none(said.get("name")) if is_tool else None,
        tool_calls=calls if role == "assistant" else (),
        tool_call_id=_text_or_none(said.get("tool_call_id")) if is_tool else None,
    )


def _texts(blocks: Sequence[Any], role: MessageRole) -> Iterable[str]:
    for block in blocks:
        match block:
            case TextBlock():
                yield block.text
            case CitableBlock():
                yield from _texts(block.content, role)
            case CitationBlock():
                yield from _texts([block.cited_content], role)
            case _ if not isinstance(block, (*_SILENT_BLOCKS, ToolCallBlock)):
                raise UnsupportedContentError(
                    f"A {role.value} message holds a {type(block).__name__}: base models read text "
                    "only. Describe it in words, or take the block out."
                )


def _block_calls(blocks: Sequence[Any]) -> Iterable[ToolCall]:
    for block in blocks:
        if isinstance(block, ToolCallBlock):
            yield _call(block.tool_name, block.tool_kwargs, block.tool_call_id)


def _said_calls(calls: Any) -> Iterable[ToolCall]:
    """Calls as integrations before ``ToolCallBlock`` kept them: OpenAI's objects, or like them."""
    for call in calls or ():
        function = _get(call, "function") or call
        yield _call(_get(function, "name"), _get(function, "arguments"), _get(call, "id"))


def _call(name: Any, arguments: Any, call_id: Any) -> ToolCall:
    """Make a call; arguments that are no JSON object are none, and their result says so."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError:
            arguments = {}
    values = arguments if isinstance(arguments, Mapping) else {}
    return ToolCall.of(str(name), values, str(call_id) if call_id else new_call_id())


def _kwargs(call: ToolCall) -> dict[str, Any] | str:
    """The arguments as a dictionary, once there are all of them."""
    try:
        return call.values
    except ValueError:
        return call.arguments


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _text_or_none(value: Any) -> str | None:
    return str(value) if value else None


def _unescaped_schema(text: str) -> str:
    """Undo the doubled braces of LlamaIndex's format instructions, which a model would copy."""
    return _ESCAPED_SCHEMA.sub(
        lambda found: found[1] + found[2].replace("{{", "{").replace("}}", "}") + found[3], text
    )
