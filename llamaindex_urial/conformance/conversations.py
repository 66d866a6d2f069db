"""Conversations of the forms that engines and agents really send."""

from __future__ import annotations

from llama_index.core.base.llms.types import (
    ChatMessage,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

__all__ = ["CONVERSATIONS"]


def _said(role: str, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=text)


_CALL = ChatMessage(
    role=MessageRole.ASSISTANT,
    blocks=[
        ToolCallBlock(tool_call_id="call-1", tool_name="forecast", tool_kwargs={"city": "Rome"})
    ],
)
_RESULT = ChatMessage(
    role=MessageRole.TOOL,
    content="Sunny, 25 degrees",
    additional_kwargs={"tool_call_id": "call-1"},
)

CONVERSATIONS: dict[str, list[ChatMessage]] = {
    "system first (chat engines)": [
        _said("system", "Answer like a pirate."),
        _said("user", "How are you?"),
    ],
    "several turns": [
        _said("user", "My name is Ada."),
        _said("assistant", "Hello, Ada."),
        _said("user", "What is my name?"),
    ],
    "system last (agents, early stopping)": [
        _said("user", "Count the stars."),
        _said("system", "Out of time. Answer with what is known so far."),
    ],
    "users in a row (ReActAgent, second try)": [
        _said("user", "First question"),
        _said("user", "Second question"),
        _said("assistant", "An answer"),
        _said("user", "Third question"),
    ],
    "tool call without text, tool result last (FunctionAgent)": [
        _said("user", "What is the weather in Rome?"),
        _CALL,
        _RESULT,
    ],
    "tool arguments as text": [
        _said("user", "What is the weather in Oslo?"),
        ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[
                ToolCallBlock(
                    tool_call_id="call-2", tool_name="forecast", tool_kwargs='{"city": "Oslo"}'
                )
            ],
        ),
        _RESULT.model_copy(update={"additional_kwargs": {"tool_call_id": "call-2"}}),
        _said("user", "And tomorrow?"),
    ],
    "empty texts": [
        _said("user", "Hello"),
        _said("assistant", ""),
        _said("user", "Are you there?"),
    ],
    "assistant first (a memory that was cut)": [
        _said("assistant", "Where were we?"),
        _said("user", "At the bees."),
    ],
    "several blocks of text (structured output of agents)": [
        ChatMessage(role="user", blocks=[TextBlock(text="One block."), TextBlock(text="Another.")])
    ],
    "thinking": [
        _said("user", "What is two and two?"),
        ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[ThinkingBlock(content="An easy sum."), TextBlock(text="Four.")],
        ),
        _said("user", "And three and three?"),
    ],
    "doubled braces (PydanticOutputParser)": [
        _said("user", 'Fill in {{"name": "{value}"}} and 100 % {of} it.'),
    ],
    "developer": [
        _said("developer", "Be brief."),
        _said("user", "What is a bee?"),
    ],
}
"""By what is special about them, and who sends them."""
