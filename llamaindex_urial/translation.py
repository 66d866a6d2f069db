"""Translation: LlamaIndex's messages to the core's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from urial_core import Message, ToolCall
from urial_core.errors import UnsupportedContentError
from urial_core.messages import Role
from urial_core.openai_tools import parse_call
from urial_core.tools import new_call_id

__all__ = ["core_messages"]

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
"""Types of blocks that hold no text of the conversation."""

_ESCAPED_SCHEMA = re.compile(r"(schema to follow:\n)(\{\{.*\}\})(\n)", re.DOTALL)
"""A schema as ``PydanticOutputParser.format`` writes it, for a template that is never filled in."""


def core_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Translate a conversation.

    Raises:
        UnsupportedContentError: A message holds something other than text and tool calls.
    """
    return [_message(message) for message in messages]


def _message(message: ChatMessage) -> Message:
    role = _ROLES[message.role]
    additional = message.additional_kwargs
    calls = tuple(_block_calls(message.blocks)) or tuple(_older_calls(additional.get("tool_calls")))
    is_tool = role == "tool"
    return Message(
        role,
        _unescaped_schema("\n".join(_texts(message.blocks, message.role))),
        name=_text_or_none(additional.get("name")) if is_tool else None,
        tool_calls=calls if role == "assistant" else (),
        tool_call_id=_text_or_none(additional.get("tool_call_id")) if is_tool else None,
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
                    "only. Describe it in words, or remove the block."
                )


def _block_calls(blocks: Sequence[Any]) -> Iterable[ToolCall]:
    for block in blocks:
        if isinstance(block, ToolCallBlock):
            call_id = block.tool_call_id or new_call_id()
            yield parse_call(block.tool_name, block.tool_kwargs, call_id)


def _older_calls(calls: Any) -> Iterable[ToolCall]:
    """Yield calls as integrations kept them before ``ToolCallBlock``: as OpenAI's objects."""
    for call in calls or ():
        function = _get(call, "function") or call
        call_id = _get(call, "id") or new_call_id()
        yield parse_call(_get(function, "name"), _get(function, "arguments"), str(call_id))


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _text_or_none(value: Any) -> str | None:
    return str(value) if value else None


def _unescaped_schema(text: str) -> str:
    """Undo the doubled braces of LlamaIndex's format instructions, which a model would copy."""
    return _ESCAPED_SCHEMA.sub(
        lambda found: found[1] + found[2].replace("{{", "{").replace("}}", "}") + found[3], text
    )
