"""Translation: LangChain's messages to the core's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from urial_core import Message
from urial_core.errors import ConversationError, UnsupportedContentError
from urial_core.messages import Role
from urial_core.openai_tools import parse_call
from urial_core.tools import ToolCall

__all__ = ["core_messages"]

_ROLES: dict[str, Role] = {
    "assistant": "assistant",
    "ai": "assistant",
    "developer": "system",
    "human": "user",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
_CALL_BLOCKS = ("tool_use", "tool_call", "function_call", "invalid_tool_call")
"""Types of blocks that hold a call, at Anthropic, LangChain and OpenAI."""
_SILENT_BLOCKS = (*_CALL_BLOCKS, "thinking", "reasoning", "redacted_thinking", "tool_call_chunk")
"""Types of blocks that hold no text of the conversation."""


def core_messages(messages: Sequence[BaseMessage]) -> list[Message]:
    """Translate a conversation.

    Raises:
        UnsupportedContentError: A message holds something other than text and tool calls.
        ConversationError: A message is of an unknown kind.
    """
    return [part for message in messages for part in _parts(message)]


def _parts(message: BaseMessage) -> Iterator[Message]:
    """Yield the core's messages for one of LangChain's: several if it holds tool results."""
    role = _role(message)
    match message:
        case ToolMessage():
            failed = message.status == "error"
            text = _text(message.content, message.type)
            yield Message("tool", text, message.name, (), message.tool_call_id, failed)
        case FunctionMessage():
            yield Message("tool", _text(message.content, message.type), message.name)
        case AIMessage():
            calls = tuple(_calls(message))
            yield Message(role, _text(message.content, message.type), tool_calls=calls)
        case _:
            yield from _with_tool_results(message, role)


def _with_tool_results(message: BaseMessage, role: Role) -> Iterator[Message]:
    """Yield a message that may hold tool results among its text, as Anthropic's do."""
    if isinstance(message.content, str):
        yield Message(role, message.content)
        return
    texts = list[str | dict[Any, Any]]()
    for block in message.content:
        if isinstance(block, str) or block.get("type") != "tool_result":
            texts.append(block)
            continue
        if texts:
            yield Message(role, _text(texts, message.type))
            texts = []
        yield Message(
            "tool",
            _text(block.get("content") or "", "tool_result"),
            tool_call_id=block.get("tool_use_id"),
            failed=bool(block.get("is_error")),
        )
    if texts or not message.content:
        yield Message(role, _text(texts, message.type))


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
        f"The message type {kind!r} is unknown: use system, human, ai or tool messages."
    )


def _text(content: str | Sequence[str | dict[Any, Any]], kind: str) -> str:
    if isinstance(content, str):
        return content
    parts = []
    for block in content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block.get("text", "")))
        elif block.get("type") not in _SILENT_BLOCKS:
            raise UnsupportedContentError(
                f"A {kind} message holds a block of type {block.get('type')!r}: base "
                "models read text only. Describe it in words, or remove the block."
            )
    return "\n".join(parts)


def _calls(message: AIMessage) -> Iterator[ToolCall]:
    """Yield the calls of a message, each once, wherever it holds them."""
    known = set[str | None]()
    for call in (*message.tool_calls, *message.invalid_tool_calls):
        known.add(call["id"])
        yield parse_call(call["name"], call["args"], call["id"] or "")
    for block in message.content if not isinstance(message.content, str) else ():
        if isinstance(block, dict) and block.get("type") in _CALL_BLOCKS:
            id_ = block.get("call_id") or block.get("id")
            if id_ not in known:
                arguments = (block.get(key) for key in ("input", "args", "arguments"))
                yield parse_call(block.get("name"), next(filter(None, arguments), None), id_ or "")
    if not known and (old := message.additional_kwargs.get("function_call")):
        yield parse_call(old.get("name"), old.get("arguments"), "")
