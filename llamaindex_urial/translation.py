"""Translation: LlamaIndex's messages to the core's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from io import IOBase
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from urial_core import Message, ToolCall
from urial_core.content import Attachment, content_text, from_base64, from_data_url
from urial_core.messages import Role
from urial_core.openai_tools import parse_call

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
_SILENT_BLOCKS = (ThinkingBlock, CachePoint, ToolCallBlock)
"""Types of blocks that hold no text of the conversation."""
_UNTITLED = "input_document"
"""The title that LlamaIndex gives to a document without one."""

_ERROR_PREFIX = "Encountered error: "
"""How the result of a failed call begins (``llama_index.core.tools.calling``)."""

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
    parts = _parts(message.blocks)
    text = content_text(parts, message.role.value, is_result=is_tool, between="\n")
    return Message(
        role,
        _unescaped_schema(text),
        name=_text_or_none(additional.get("name")),
        tool_calls=calls if role == "assistant" else (),
        tool_call_id=_text_or_none(additional.get("tool_call_id")) if is_tool else None,
        failed=_failed(additional.get("is_error"), text) if is_tool else False,
    )


def _failed(is_error: Any, text: str) -> bool:
    """Return whether a tool's result reports an error, as far as its message shows it.

    LlamaIndex's agents leave ``ToolOutput.is_error`` out of the message. An unknown outcome counts
    as a success, since a call with effects must not be made twice.
    """
    return text.startswith(_ERROR_PREFIX) if is_error is None else is_error is True


def _parts(blocks: Sequence[Any]) -> Iterable[str | Attachment]:
    for block in blocks:
        match block:
            case TextBlock():
                yield block.text
            case CitableBlock():
                yield from _parts(block.content)
            case CitationBlock():
                yield from _parts([block.cited_content])
            case DocumentBlock():
                title = "" if block.title in (None, _UNTITLED) else str(block.title)
                yield _attachment(block, block.data, block.document_mimetype, title)
            case ImageBlock():
                yield _attachment(block, block.image, block.image_mimetype or "image")
            case AudioBlock():
                yield _attachment(block, block.audio, f"audio/{block.format or 'x-unknown'}")
            case VideoBlock():
                yield _attachment(block, block.video, block.video_mimetype or "video")
            case _ if not isinstance(block, _SILENT_BLOCKS):
                yield Attachment(f"a {type(block).__name__}")


def _attachment(
    block: DocumentBlock | ImageBlock | AudioBlock | VideoBlock,
    held: bytes | IOBase | None,
    mime_type: str | None,
    title: str = "",
) -> Attachment:
    """Read what a block holds: LlamaIndex keeps bytes as base64."""
    url, data = str(block.url or ""), None
    if url.startswith("data:"):
        of_url, data = from_data_url(url)
        mime_type, url = mime_type or of_url, ""
    elif isinstance(held, IOBase):
        held.seek(0)
        data = held.read()
    elif held:
        data = from_base64(held.decode("ascii", "replace"))
    elif block.path:
        data = Path(block.path).read_bytes()
    return Attachment(f"a {type(block).__name__}", data, mime_type or "", title, url)


def _block_calls(blocks: Sequence[Any]) -> Iterable[ToolCall]:
    for block in blocks:
        if isinstance(block, ToolCallBlock):
            call_id = block.tool_call_id or block.tool_name  # as LlamaIndex's agents refer to it
            yield parse_call(block.tool_name, block.tool_kwargs, call_id)


def _older_calls(calls: Any) -> Iterable[ToolCall]:
    """Yield calls as integrations kept them before ``ToolCallBlock``: as OpenAI's objects."""
    for call in calls or ():
        function = _get(call, "function") or call
        call_id = _get(call, "id") or _get(function, "name") or ""
        arguments = _get(function, "arguments") or _get(function, "input")  # Anthropic's
        yield parse_call(_get(function, "name"), arguments, str(call_id))


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _text_or_none(value: Any) -> str | None:
    return str(value) if value else None


def _unescaped_schema(text: str) -> str:
    """Undo the doubled braces of LlamaIndex's format instructions, which a model would copy."""
    return _ESCAPED_SCHEMA.sub(
        lambda found: found[1] + found[2].replace("{{", "{").replace("}}", "}") + found[3], text
    )
