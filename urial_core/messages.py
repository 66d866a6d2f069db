"""Messages: what a conversation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from urial_core.errors import ConversationError, UnsupportedContentError
from urial_core.tools import ToolCall

__all__ = ["Message", "Role"]

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        text: The text. Other kinds of content are refused.
        name: For a tool's result, the tool's name. For other roles the author's: it tells
            several agents or users apart.
        tool_calls: For an assistant's message, the calls that it asks for, after its text.
        tool_call_id: For a tool's result, the call it answers.
        failed: For a tool's result, whether the call failed.
        cleared: For a tool's result, whether a placeholder stands for it, so that the model may ask
            for it again.
    """

    role: Role
    text: str = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    failed: bool = False
    cleared: bool = False

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ConversationError(
                f"Unknown role {self.role!r}: use one of {', '.join(get_args(Role))}."
            )
        if not isinstance(self.text, str):
            raise UnsupportedContentError(
                f"A message's text must be a str, not {type(self.text).__name__}: "
                "base models read text only."
            )
