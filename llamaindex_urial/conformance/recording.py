"""What an LLM tells callback handlers and the instrumentation dispatcher."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.llms import LLM
from llama_index_instrumentation import get_dispatcher

__all__ = ["Recorded", "calling_back", "recording"]


class Recorded(BaseCallbackHandler):
    """What was told.

    Attributes:
        starts: The payloads of the LLM events that began, in order.
        ends: The payloads of those that ended.
        events: The dispatcher's events, in order.
    """

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts = list[dict[str, Any]]()
        self.ends = list[dict[str, Any]]()
        self.events = list[BaseEvent]()

    def named(self, *names: str) -> list[Any]:
        """Get the dispatcher's events of these class names, in order."""
        return [event for event in self.events if event.class_name() in names]

    def responses(self) -> list[ChatResponse | CompletionResponse | None]:
        """Get what the dispatcher's events carry as responses."""
        return [event.response for event in self.events if hasattr(event, "response")]

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """Keep the payload of an LLM event."""
        del parent_id, kwargs
        if event_type == CBEventType.LLM:
            self.starts.append(payload or {})
        return event_id

    def on_event_end(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        **kwargs: Any,
    ) -> None:
        """Keep the payload of an LLM event."""
        del event_id, kwargs
        if event_type == CBEventType.LLM:
            self.ends.append(payload or {})

    def start_trace(self, trace_id: str | None = None) -> None:
        """Do nothing."""

    def end_trace(
        self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None
    ) -> None:
        """Do nothing."""


class _EventKeeper(BaseEventHandler):
    kept: list[Any] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        del kwargs
        self.kept.append(event)


@contextmanager
def calling_back(llm: LLM, *handlers: BaseCallbackHandler) -> Generator[None]:
    """Give the LLM a callback manager with these handlers, as ``Settings`` does, for a while."""
    before = llm.callback_manager
    llm.callback_manager = CallbackManager(list(handlers))
    try:
        yield
    finally:
        llm.callback_manager = before


@contextmanager
def recording(llm: LLM) -> Generator[Recorded]:
    """Record what is told meanwhile."""
    recorded = Recorded()
    keeper = _EventKeeper()
    recorded.events = keeper.kept
    root = get_dispatcher()
    root.add_event_handler(keeper)
    try:
        with calling_back(llm, recorded):
            yield recorded
    finally:
        root.event_handlers.remove(keeper)
