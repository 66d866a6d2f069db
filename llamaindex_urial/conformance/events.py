"""What callback handlers and the instrumentation dispatcher are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import EventPayload
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.endpoints import CELLS, STREAMS, Endpoint, text_of
from llamaindex_urial.conformance.recording import Recorded, recording

__all__ = ["EventTests"]

_SECRET_NAMES = {"api_key", "apikey", "authorization", "token", "password", "secret"}


class EventTests(LLMClaims):
    """One call, one pair of events, true and complete."""

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("TokenCountingHandler and every tracer: a second pair counts a call twice")
    def test_one_pair_for_callback_handlers(self, llm: LLM, endpoint: Endpoint) -> None:
        """A call tells ``callback_manager`` of one start and one end of an LLM event."""
        with recording(llm) as recorded:
            self.ask(llm, endpoint)

        assert (len(recorded.starts), len(recorded.ends)) == (1, 1)

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("callback handlers (llms/callbacks.py)")
    def test_payloads_for_callback_handlers(self, llm: LLM, endpoint: Endpoint) -> None:
        """The start carries the question and the LLM's description, the end the last response."""
        with recording(llm) as recorded:
            last = self.ask(llm, endpoint)[-1]

        start, end = recorded.starts[0], recorded.ends[-1]
        asked = EventPayload.MESSAGES if endpoint.is_chat else EventPayload.PROMPT
        answered = EventPayload.RESPONSE if endpoint.is_chat else EventPayload.COMPLETION
        assert start[asked] == self.question(endpoint)
        assert isinstance(start[EventPayload.SERIALIZED], dict)
        assert EventPayload.EXCEPTION not in end
        assert text_of(end[answered]) == text_of(last)

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("tracers on the dispatcher (instrumentation/events/llm.py)")
    def test_dispatcher_events_in_order(self, llm: LLM, endpoint: Endpoint) -> None:
        """The dispatcher gets a start, an event for each item of a stream, and an end."""
        with recording(llm) as recorded:
            items = self.ask(llm, endpoint)

        events = _events(recorded, endpoint)
        inside = ["InProgress"] * len(items) if endpoint.is_stream else []
        assert [_kind(event) for event in events] == ["Start", *inside, "End"]
        assert not recorded.named("ExceptionEvent")
        assert len({event.span_id for event in events}) == 1, "events of several spans"

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("tracers on the dispatcher (instrumentation/events/llm.py)")
    def test_dispatcher_events_carry_the_call(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each event carries the question; the end's response is the last item."""
        with recording(llm) as recorded:
            last = self.ask(llm, endpoint)[-1]

        events = _events(recorded, endpoint)
        for event in events:
            asked = event.messages if endpoint.is_chat else event.prompt
            assert _plain(asked) == _plain(self.question(endpoint))
        assert text_of(events[-1].response) == text_of(last)

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("tracers that keep events (llms/callbacks.py, LLMChatInProgressEvent)")
    def test_items_do_not_change_later(self, llm: LLM, endpoint: Endpoint) -> None:
        """Items kept by a handler stay as they were: each is an object of its own."""
        with recording(llm) as recorded:
            self.ask(llm, endpoint)

        events = _events(recorded, endpoint)
        texts = [text_of(event.response) for event in events if _kind(event) == "InProgress"]
        assert texts == sorted(texts, key=len)
        assert len(texts) < 2 or len(texts[0]) < len(texts[-1])

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("BaseLLM.to_payload: 'must never contain credentials' (base/llms/base.py)")
    def test_nothing_secret(self, llm: LLM, endpoint: Endpoint) -> None:
        """No event and no payload holds a secret."""
        with recording(llm) as recorded:
            self.ask(llm, endpoint)

        told = [repr(event) for event in recorded.events]
        told += [repr(payload) for payload in (*recorded.starts, *recorded.ends)]
        for secret in self.secrets:
            assert not [text for text in told if secret in text], "a secret in an event"

    @contract("BaseLLM.to_payload (base/llms/base.py)")
    def test_payload_describes_the_llm(self, llm: LLM) -> None:
        """``to_payload()`` is JSON, names class and model, and has no field for a secret."""
        payload = llm.to_payload()

        assert json.loads(json.dumps(payload, default=str))
        assert payload["class_name"] == llm.class_name()
        assert payload.get("model_name", payload.get("model"))
        held = {name for name, value in payload.items() if value}
        assert not held & _SECRET_NAMES


def _events(recorded: Recorded, endpoint: Endpoint) -> list[Any]:
    about = "Chat" if endpoint.is_chat else "Completion"
    return recorded.named(*(f"LLM{about}{kind}Event" for kind in ("Start", "InProgress", "End")))


def _kind(event: Any) -> str:
    name = type(event).__name__
    return next(kind for kind in ("Start", "InProgress", "End") if f"{kind}Event" in name)


def _plain(question: Any) -> Any:
    if isinstance(question, str):
        return question
    return [ChatMessage.model_dump(message) for message in question]
