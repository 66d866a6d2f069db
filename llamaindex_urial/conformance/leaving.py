"""Streams that are closed before their end, and sources that fail."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from llama_index.core.callbacks import EventPayload
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.endpoints import ENDPOINTS, STREAMS, Endpoint
from llamaindex_urial.conformance.recording import recording

__all__ = ["LeavingTests"]

_PATIENCE = 2.0


class LeavingTests(LLMClaims):
    """Closing is no error, and an error is not an end."""

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("callers that stop reading; callback handlers wait for the end (llms/callbacks.py)")
    def test_closing_early(self, llm: LLM, endpoint: Endpoint) -> None:
        """Closing a stream raises nothing, ends all LLM events, and leaves the LLM usable."""
        with recording(llm) as recorded:
            self._close_early(llm, endpoint)

        assert len(recorded.ends) == len(recorded.starts)
        assert self.ask(llm, endpoint)

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("tracers, which show an ExceptionEvent as a failed call (llms/callbacks.py)")
    def test_closing_early_is_no_error(self, llm: LLM, endpoint: Endpoint) -> None:
        """A stream that was closed early is not reported as an exception."""
        self.needs("closes_quietly")

        with recording(llm) as recorded:
            self._close_early(llm, endpoint)

        assert not recorded.named("ExceptionEvent")
        assert not [end for end in recorded.ends if EventPayload.EXCEPTION in end]

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("users who stop an answer (run-llama/llama_index#13503)")
    def test_closing_early_stops_the_source(self, llm: LLM, endpoint: Endpoint) -> None:
        """Closing a stream stops what writes it, within two seconds."""
        self.needs("stops_on_close")

        self._close_early(llm, endpoint)

        until = time.monotonic() + _PATIENCE
        while not (stopped := self.source_stopped(llm)) and time.monotonic() < until:
            self.run_async(asyncio.sleep(0.02))
        assert stopped

    @pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
    @contract("callers: a stream that just ends looks like a whole answer")
    def test_errors_reach_the_caller(self, failing_llm: LLM, endpoint: Endpoint) -> None:
        """An error of the source is raised in the caller, soon, and ends the LLM event once."""
        with recording(failing_llm) as recorded:
            try:
                answer = self.ask(failing_llm, endpoint)
            except TimeoutError as error:
                raise AssertionError("the caller was left waiting") from error
            except Exception:
                answer = None

        assert answer is None, "no error was raised"
        assert len(recorded.starts) == len(recorded.ends)
        assert [end for end in recorded.ends if EventPayload.EXCEPTION in end]

    def _close_early(self, llm: LLM, endpoint: Endpoint) -> None:
        method: Any = getattr(llm, endpoint.method)
        question = self.question(endpoint)

        async def close_awaited() -> None:
            stream = await method(question, **endpoint.arguments)
            await anext(stream)
            await stream.aclose()

        def close() -> None:
            stream = method(question, **endpoint.arguments)
            next(stream)
            stream.close()

        if endpoint.is_async:
            self.run_async(close_awaited())
        else:
            self.run(close)
