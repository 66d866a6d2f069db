"""Translation: LangChain's messages to the core's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

from langchain_urial.content import CALL_BLOCKS, block_text
from urial_core import Message
from urial_core.errors import ConversationError
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
            text = block_text(message.content, message.type)
            yield Message(
                "tool", text, message.name, (), message.tool_call_id, failed, _was_cleared(message)
            )
        case FunctionMessage():
            yield Message("tool", block_text(message.content, message.type), message.name)
        case AIMessage():
            calls = tuple(_calls(message))
            yield Message(role, block_text(message.content, "ai"), message.name, calls)
        case _:
            yield from _with_tool_results(message, role)


def _was_cleared(result: ToolMessage) -> bool:
    """Return whether LangChain's ``ContextEditingMiddleware`` put a placeholder for a result."""
    editing = result.response_metadata.get("context_editing")
    return isinstance(editing, Mapping) and bool(editing.get("cleared"))


def _with_tool_results(message: BaseMessage, role: Role) -> Iterator[Message]:
    """Yield a message that may hold tool results among its text, as Anthropic's do."""
    speaker = {"assistant": "ai", "tool": "tool"}.get(role, message.type)
    if isinstance(message.content, str):
        yield Message(role, message.content, message.name)
        return
    texts = list[str | dict[Any, Any]]()
    for block in message.content:
        if isinstance(block, str) or block.get("type") != "tool_result":
            texts.append(block)
            continue
        if texts:
            yield Message(role, block_text(texts, speaker), message.name)
            texts = []
        yield Message(
            "tool",
            block_text(block.get("content") or "", "tool_result"),
            tool_call_id=block.get("tool_use_id"),
            failed=bool(block.get("is_error")),
        )
    if texts or not message.content:
        yield Message(role, block_text(texts, speaker), message.name)


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


def _calls(message: AIMessage) -> Iterator[ToolCall]:
    """Yield the calls of a message, each once, wherever it holds them."""
    known = set[str | None]()
    for call in (*message.tool_calls, *message.invalid_tool_calls):
        known.add(call["id"])
        yield parse_call(call["name"], call["args"], call["id"] or "")
    for block in message.content if not isinstance(message.content, str) else ():
        if isinstance(block, dict) and block.get("type") in CALL_BLOCKS:
            id_ = block.get("call_id") or block.get("id")
            if id_ not in known:
                arguments = (block.get(key) for key in ("input", "args", "arguments"))
                yield parse_call(block.get("name"), next(filter(None, arguments), None), id_ or "")
    if not known and (old := message.additional_kwargs.get("function_call")):
        yield parse_call(old.get("name"), old.get("arguments"), "")
