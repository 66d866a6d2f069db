"""Streams: their items, closing them early, and errors."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest
from llama_index.core.callbacks import EventPayload
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import METHODS, STREAMS, Endpoint, recording, text_of
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["ClosingTests", "StreamTests"]

_PATIENCE = 2.0


class StreamTests(LLMClaims):
    """Test what readers of a stream rely on."""

    @contract(
        "LLM.stream and CodeActAgent read deltas; FunctionAgent and ReActAgent the last text",
        STREAMS,
    )
    def test_deltas_make_up_the_text(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each item's text is all deltas so far, joined; the last item's is the whole answer."""
        so_far = ""
        for number, item in enumerate(self.ask(llm, endpoint)):
            so_far += item.delta or ""
            assert text_of(item) == so_far, f"item {number}"
        assert so_far.strip(), "the deltas are blank"

    @contract(
        "llm_chat_callback adds events to generators only, and takes an async def that yields as "
        "sync (llms/callbacks.py)",
        STREAMS,
    )
    def test_stream_is_a_generator(self, llm: LLM, endpoint: Endpoint) -> None:
        """``stream_...`` returns a generator, and ``await astream_...`` an async generator."""
        stream = self.close_early(llm, endpoint)

        is_generator = inspect.isasyncgen if endpoint.is_async else inspect.isgenerator
        assert is_generator(stream), type(stream).__name__


class ClosingTests(LLMClaims):
    """Test streams that are closed before their end, and models that fail."""

    @contract(
        "callers that stop reading; callback handlers wait for the end (llms/callbacks.py)", STREAMS
    )
    def test_closing_early(self, llm: LLM, endpoint: Endpoint) -> None:
        """Closing a stream raises nothing, ends all LLM events, and leaves the LLM usable."""
        with recording(llm) as recorded:
            self.close_early(llm, endpoint)

        assert len(recorded.ends) == len(recorded.starts)
        assert self.ask(llm, endpoint)

    @contract("tracers, which show an ExceptionEvent as a failed call (llms/callbacks.py)", STREAMS)
    def test_closing_early_is_no_error(self, llm: LLM, endpoint: Endpoint) -> None:
        """Closing a stream early is not reported as an exception."""
        self.needs("closes_without_error")

        with recording(llm) as recorded:
            self.close_early(llm, endpoint)

        assert not recorded.named("ExceptionEvent")
        assert not [end for end in recorded.ends if EventPayload.EXCEPTION in end]

    @contract("users who stop an answer (run-llama/llama_index#13503)", STREAMS)
    def test_closing_early_stops_generation(self, llm: LLM, endpoint: Endpoint) -> None:
        """Closing a stream stops generation within two seconds."""
        self.needs("cancels_on_close")

        self.close_early(llm, endpoint)

        until = time.monotonic() + _PATIENCE
        while not (stopped := self.generation_stopped(llm)) and time.monotonic() < until:
            self.run_async(asyncio.sleep(0.02))
        assert stopped

    @contract("callers: a stream that just ends looks like a whole answer", METHODS)
    def test_errors_reach_the_caller(self, failing_llm: LLM, endpoint: Endpoint) -> None:
        """An error of the model is raised in the caller, soon, and ends the LLM event once."""
        with recording(failing_llm) as recorded, pytest.raises(Exception) as raised:  # noqa: PT011
            self.ask(failing_llm, endpoint)

        assert not isinstance(raised.value, TimeoutError), "the caller was left waiting"
        assert len(recorded.starts) == len(recorded.ends)
        assert [end for end in recorded.ends if EventPayload.EXCEPTION in end]
