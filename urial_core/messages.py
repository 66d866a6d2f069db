"""Messages: what a conversation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from urial_core.errors import ConversationError, UnsupportedContentError

__all__ = ["Message", "Role"]

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        text: What is said. Other kinds of content are refused.
        name: For a tool's result, the tool's name. It is not written for other roles.
    """

    role: Role
    text: str
    name: str | None = None

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
