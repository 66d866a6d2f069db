"""Content: read blocks of LangChain's and of its providers' messages as text and attachments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from urial_core.content import Attachment, content_text, from_base64, from_data_url

__all__ = ["CALL_BLOCKS", "Content", "block_text"]

Content = str | Sequence[str | dict[Any, Any]]
"""What a message's ``content`` may be."""

CALL_BLOCKS = ("tool_use", "tool_call", "function_call", "invalid_tool_call")
"""Types of blocks that hold a call, at Anthropic, LangChain and OpenAI."""
_LEFT_OUT = (
    *CALL_BLOCKS,
    *("tool_call_chunk", "server_tool_call", "server_tool_call_chunk", "server_tool_result"),
    *("reasoning", "reasoning_content", "thinking", "redacted_thinking", "thought"),
    *("toolUse", "reasoningContent", "citation", "reference", "cache_point", "cachePoint"),
)
"""Types of blocks that hold nothing of what was said."""
_ATTACHMENTS = (
    *("file", "input_file", "document", "document_url", "text-plain", "media", "container_upload"),
    *("image", "image_url", "input_image", "audio", "input_audio", "video", "video_url"),
    *("resource", "resource_link"),
)
"""Types of blocks that hold a file, or where one is."""
_INNER = ("source", "file", "document", "resource", "image", "audio", "video", "input_audio")
"""Keys under which providers put what a block holds."""


def block_text(content: Content, speaker: str) -> str:
    """Return the text of a message's content, joined as LangChain's ``message.text`` is.

    Texts of a tool's result are separate items, as in MCP: they begin on lines of their own.

    Args:
        content: The content.
        speaker: The message's type ("human", "ai", "tool" or another).

    Raises:
        UnsupportedContentError: It holds something other than text, and is no tool's result.
    """
    if isinstance(content, str):
        return content
    is_result = speaker in ("tool", "function", "tool_result")
    parts = _parts(content, speaker, is_result=is_result)
    between = "\n" if is_result else ""
    return content_text(parts, speaker, is_result=is_result, between=between)


def _parts(content: Sequence[Any], speaker: str, *, is_result: bool) -> Iterator[str | Attachment]:
    for block in content:
        if isinstance(block, str):
            yield block
            continue
        kind = block.get("type") or next(iter(block), None)  # as Bedrock names a block's type
        if kind == "non_standard" and isinstance(block.get("value"), Mapping):
            yield from _parts([block["value"]], speaker, is_result=is_result)
        elif kind in _LEFT_OUT:
            continue
        elif kind in _ATTACHMENTS:
            yield from _attached(block, str(kind), speaker)
        elif kind == "search_result":
            found = block_text(block.get("content") or "", "tool")
            yield Attachment("a search result", found, title=_first(block, "title"))
        elif (text := _text(block)) is not None:
            yield text
        elif is_result:
            yield json.dumps(block.get("json", block), ensure_ascii=False, default=str)
        elif speaker != "ai":  # whose others are a provider's own searches and the like
            yield Attachment(f"a block of type {kind!r}")


def _text(block: Mapping[str, Any]) -> str | None:
    """Return the text of a block that is no file."""
    guarded = block.get("guard_content") or block.get("guardContent")  # Bedrock's
    if isinstance(guarded, Mapping):
        inner = guarded.get("text")
        return _text(inner if isinstance(inner, Mapping) else guarded)
    for name in ("text", "refusal"):
        if isinstance(found := block.get(name), str):
            return found
    if block.get("type") in ("compaction", "custom_tool_call_output"):  # a summary, an output
        return block_text(block.get("content") or block.get("output") or "", "tool")
    return None


def _attached(block: Mapping[str, Any], kind: str, speaker: str) -> Iterator[str | Attachment]:
    """Yield the parts of a block that holds a file, whoever's form it has."""
    held, inner = dict(block), block
    while inner := next((i for key in _INNER if isinstance(i := inner.get(key), Mapping)), {}):
        held |= inner
    if held.get("type") == "content":  # Anthropic's documents of several blocks
        yield block_text(held.get("content") or "", speaker)
        return
    medium = next((name for name in ("image", "audio", "video") if name in kind), "")
    mime_type = _first(held, "mime_type", "media_type", "mimeType")
    title = _first(held, "title", "filename", "file_name", "name")
    where = _first(held, "url", "uri", "file_url", "file_uri", "image_url", "video_url")
    if isinstance(link := held.get("image_url") or held.get("video_url"), Mapping):
        where = _first(link, "url")
    data: Any = held.get("text")
    if data is None:
        names = ("base64", "data", "blob", "file_data", "bytes")
        data = next((found for name in names if (found := held.get(name))), None)
        if isinstance(data, str) and data.startswith("data:"):
            where, data = data, None
        elif isinstance(data, str) and held.get("type") != "text":
            data = from_base64(data)
    if data is None and where.startswith("data:"):
        of_url, data = from_data_url(where)
        mime_type, where = mime_type or of_url, ""
    data = data if isinstance(data, bytes | str) else None
    where = (where or _first(held, "file_id", "fileId")) if data is None else ""
    yield Attachment(f"a block of type {kind!r}", data, mime_type or medium, title, where)


def _first(block: Mapping[str, Any], *names: str) -> str:
    """Return the first text under some names; empty if there is none."""
    return next((found for name in names if isinstance(found := block.get(name), str)), "")
