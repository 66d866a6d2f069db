"""The methods by which an LLM is asked, and their answers, in one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms import LLM

__all__ = [
    "CELLS",
    "CHATS",
    "ENDPOINTS",
    "STREAMS",
    "Endpoint",
    "Question",
    "Response",
    "acollect",
    "collect",
    "text_of",
]

Response = ChatResponse | CompletionResponse
Question = str | Sequence[ChatMessage]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the eight methods.

    Attributes:
        method: Its name.
        formatted: For a completion, whether the prompt is passed as one that is formatted already.
    """

    method: str
    formatted: bool = False

    @property
    def is_chat(self) -> bool:
        """Whether it takes messages, not a prompt."""
        return self.method.endswith("chat")

    @property
    def is_async(self) -> bool:
        """Whether it has to be awaited."""
        return self.method.startswith("a")

    @property
    def is_stream(self) -> bool:
        """Whether it gives an answer in parts."""
        return "stream" in self.method

    @property
    def whole(self) -> Endpoint:
        """The method that gives the same answer at once, awaited or not just as this one."""
        return Endpoint(self.method.replace("stream_", ""), self.formatted)

    @property
    def arguments(self) -> dict[str, Any]:
        """Its arguments besides the question."""
        return {"formatted": True} if self.formatted else {}

    def __str__(self) -> str:
        return f"{self.method}-formatted" if self.formatted else self.method


CHATS = [Endpoint(name) for name in ("chat", "stream_chat", "achat", "astream_chat")]
"""The four that take messages."""

_COMPLETIONS = ["complete", "stream_complete", "acomplete", "astream_complete"]

ENDPOINTS = [*CHATS, *(Endpoint(name) for name in _COMPLETIONS)]
"""All eight."""

CELLS = [*ENDPOINTS, *(Endpoint(name, formatted=True) for name in _COMPLETIONS)]
"""All eight, those that take a prompt with each value of ``formatted``."""

STREAMS = [cell for cell in CELLS if cell.is_stream]
"""The cells that give an answer in parts."""


def collect(llm: LLM, endpoint: Endpoint, question: Question, **kwargs: Any) -> list[Response]:
    """Ask by a method that is not awaited; a whole answer is a list of one."""
    answer = getattr(llm, endpoint.method)(question, **endpoint.arguments, **kwargs)
    return list(answer) if endpoint.is_stream else [answer]


async def acollect(
    llm: LLM, endpoint: Endpoint, question: Question, **kwargs: Any
) -> list[Response]:
    """Ask by a method that is awaited; a whole answer is a list of one."""
    answer = await getattr(llm, endpoint.method)(question, **endpoint.arguments, **kwargs)
    return [item async for item in answer] if endpoint.is_stream else [answer]


def text_of(response: Response) -> str:
    """Get the text so far."""
    if isinstance(response, CompletionResponse):
        return response.text
    return response.message.content or ""
