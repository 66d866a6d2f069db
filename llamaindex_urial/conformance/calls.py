"""Call the methods of an LLM in one way, and record the events that they report."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import LLM
from llama_index_instrumentation import get_dispatcher

__all__ = [
    "CHATS",
    "COMPLETIONS",
    "ENDPOINTS",
    "METHODS",
    "STREAMS",
    "Endpoint",
    "Question",
    "Recorded",
    "Response",
    "acollect",
    "collect",
    "recording",
    "text_of",
]

Response = ChatResponse | CompletionResponse
Question = str | Sequence[ChatMessage]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method of an LLM. Its name says whether it is async and whether it streams.

    Attributes:
        method: The name, such as ``astream_chat``.
        formatted: For a completion, whether the prompt is passed with ``formatted=True``.
    """

    method: str
    formatted: bool = False

    @property
    def is_chat(self) -> bool:
        """Whether it takes messages, not a prompt."""
        return "chat" in self.method

    @property
    def is_async(self) -> bool:
        """Whether it must be awaited."""
        return self.method.startswith("a")

    @property
    def is_stream(self) -> bool:
        """Whether it returns a generator of items."""
        return "stream" in self.method

    @property
    def sync_whole(self) -> Endpoint:
        """The sync method that returns the same answer as one response."""
        return Endpoint("chat" if self.is_chat else "complete", self.formatted)

    def call(self, llm: LLM, *args: Any, **kwargs: Any) -> Any:
        """Call the method of this LLM."""
        formatted = {"formatted": True} if self.formatted else {}
        return getattr(llm, self.method)(*args, **formatted, **kwargs)

    def __str__(self) -> str:
        return f"{self.method}-formatted" if self.formatted else self.method


CHATS = [Endpoint(name) for name in ("chat", "stream_chat", "achat", "astream_chat")]
"""The four methods that take messages."""

METHODS = [*CHATS, *(Endpoint(chat.method.replace("chat", "complete")) for chat in CHATS)]
"""All eight methods."""

ENDPOINTS = [*METHODS, *(Endpoint(m.method, formatted=True) for m in METHODS if not m.is_chat)]
"""All eight methods, those that take a prompt with either value of ``formatted``."""

COMPLETIONS = [endpoint for endpoint in ENDPOINTS if not endpoint.is_chat]
"""Those that take a prompt."""

STREAMS = [endpoint for endpoint in ENDPOINTS if endpoint.is_stream]
"""Those that stream."""


def collect(llm: LLM, endpoint: Endpoint, *args: Any, **kwargs: Any) -> list[Any]:
    """Call a sync method and return its items; a whole response is a list of one."""
    answer = endpoint.call(llm, *args, **kwargs)
    return list(answer) if endpoint.is_stream else [answer]


async def acollect(llm: LLM, endpoint: Endpoint, *args: Any, **kwargs: Any) -> list[Any]:
    """Call an async method and return its items; a whole response is a list of one."""
    answer = await endpoint.call(llm, *args, **kwargs)
    return [item async for item in answer] if endpoint.is_stream else [answer]


def text_of(response: Response) -> str:
    """Return the text so far."""
    if isinstance(response, CompletionResponse):
        return response.text
    return response.message.content or ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an LLM reported.

    Attributes:
        handler: The callback handler that kept the callback events.
        events: The dispatcher's events, in order.
    """

    handler: LlamaDebugHandler
    events: list[BaseEvent]

    @property
    def starts(self) -> list[dict[str, Any]]:
        """The payloads of the LLM events that started, in order."""
        return [pair[0].payload or {} for pair in self.handler.get_llm_inputs_outputs()]

    @property
    def ends(self) -> list[dict[str, Any]]:
        """The payloads of the LLM events that ended, in order of their starts."""
        pairs = self.handler.get_llm_inputs_outputs()
        return [event.payload or {} for pair in pairs for event in pair[1:]]

    def named(self, *names: str) -> list[Any]:
        """Return the dispatcher's events of these class names, in order."""
        return [event for event in self.events if event.class_name() in names]


class _EventKeeper(BaseEventHandler):
    kept: list[Any] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        del kwargs
        self.kept.append(event)


@contextmanager
def recording(llm: LLM) -> Generator[Recorded]:
    """Record the callback events of an LLM and all events of the dispatcher."""
    handler = LlamaDebugHandler(print_trace_on_end=False)
    keeper = _EventKeeper()
    root = get_dispatcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llm, "callback_manager", CallbackManager([handler]))
        patch.setattr(root, "event_handlers", [*root.event_handlers, keeper])
        yield Recorded(handler, keeper.kept)
