"""Events for callback handlers and the instrumentation dispatcher."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks import EventPayload
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import (
    ENDPOINTS,
    STREAMS,
    Endpoint,
    Recorded,
    Response,
    recording,
    text_of,
)
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["EventTests"]

_TRACERS = "tracers on the dispatcher (instrumentation/events/llm.py)"


class EventTests(LLMClaims):
    """Test that one call reports one pair of events, correct and complete."""

    @contract(
        "TokenCountingHandler and every tracer: a second pair counts a call twice",
        ENDPOINTS,
    )
    def test_one_pair_for_callback_handlers(self, llm: LLM, endpoint: Endpoint) -> None:
        """A call reports one start and one end of an LLM event to ``callback_manager``."""
        recorded, _ = self._recorded(llm, endpoint)

        assert (len(recorded.starts), len(recorded.ends)) == (1, 1)

    @contract("callback handlers (llms/callbacks.py)", ENDPOINTS)
    def test_payloads_for_callback_handlers(self, llm: LLM, endpoint: Endpoint) -> None:
        """The start holds the question and the LLM's dictionary, the end the last response."""
        recorded, items = self._recorded(llm, endpoint)

        start, end = recorded.starts[0], recorded.ends[-1]
        asked = EventPayload.MESSAGES if endpoint.is_chat else EventPayload.PROMPT
        answered = EventPayload.RESPONSE if endpoint.is_chat else EventPayload.COMPLETION
        assert start[asked] == self.question(endpoint)
        assert isinstance(start[EventPayload.SERIALIZED], dict)
        assert EventPayload.EXCEPTION not in end
        assert text_of(end[answered]) == text_of(items[-1])

    @contract(_TRACERS, ENDPOINTS)
    def test_dispatcher_events_in_order(self, llm: LLM, endpoint: Endpoint) -> None:
        """The dispatcher gets a start, an event for each item of a stream, and an end."""
        recorded, items = self._recorded(llm, endpoint)

        events = _events(recorded, endpoint)
        inside = ["InProgress"] * len(items) if endpoint.is_stream else []
        assert [kind for kind, _ in events] == ["Start", *inside, "End"]
        assert not recorded.named("ExceptionEvent")
        assert len({event.span_id for _, event in events}) == 1, "events of several spans"

    @contract(_TRACERS, ENDPOINTS)
    def test_dispatcher_events_carry_the_call(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each event holds the question; the end's response is the last item."""
        recorded, items = self._recorded(llm, endpoint)

        events = _events(recorded, endpoint)
        for _, event in events:
            asked = event.messages if endpoint.is_chat else event.prompt
            assert asked == self.question(endpoint)
        assert text_of(events[-1][1].response) == text_of(items[-1])

    @contract("tracers that keep events (llms/callbacks.py, LLMChatInProgressEvent)", STREAMS)
    def test_items_do_not_change_later(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each item of a stream is an object of its own, which does not change afterwards."""
        recorded, _ = self._recorded(llm, endpoint)

        events = _events(recorded, endpoint)
        texts = [text_of(event.response) for kind, event in events if kind == "InProgress"]
        assert texts == sorted(texts, key=len)
        assert len(texts) < 2 or len(texts[0]) < len(texts[-1])

    @contract(
        "BaseLLM.to_payload: 'must never contain credentials' (base/llms/base.py)",
        ENDPOINTS,
    )
    def test_events_hold_no_secret(self, llm: LLM, endpoint: Endpoint) -> None:
        """No event and no payload holds a secret."""
        recorded, _ = self._recorded(llm, endpoint)

        self.check_no_secret([*recorded.events, *recorded.starts, *recorded.ends])

    def _recorded(self, llm: LLM, endpoint: Endpoint) -> tuple[Recorded, list[Response]]:
        with recording(llm) as recorded:
            items = self.ask(llm, endpoint)
        return recorded, items


def _events(recorded: Recorded, endpoint: Endpoint) -> list[tuple[str, Any]]:
    """Return the events of chats or of completions, each with its kind, such as "Start"."""
    about = "LLMChat" if endpoint.is_chat else "LLMCompletion"
    return [
        (event.class_name().removeprefix(about).removesuffix("Event"), event)
        for event in recorded.events
        if event.class_name().startswith(about)
    ]
