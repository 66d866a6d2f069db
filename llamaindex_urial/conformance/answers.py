"""Responses of the eight methods, whole and streamed: texts, usage, closing early, errors."""

from __future__ import annotations

import asyncio
import inspect
import json
import time

import pytest
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse, MessageRole
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.callbacks import CallbackManager, EventPayload, TokenCountingHandler
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import (
    COMPLETIONS,
    ENDPOINTS,
    METHODS,
    STREAMS,
    Endpoint,
    recording,
    text_of,
)
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["AnswerTests", "ClosingTests", "StreamTests"]

_PATIENCE = 2.0


class AnswerTests(LLMClaims):
    """Test the response of each method."""

    @contract("agents: 'Got empty streaming response' (agent/workflow/base_agent.py)", ENDPOINTS)
    def test_answers(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each method returns responses of its type, the last with text, chat's as assistant."""
        responses = self.ask(llm, endpoint)

        assert responses, "no item"
        for response in responses:
            assert isinstance(response, ChatResponse if endpoint.is_chat else CompletionResponse)
            if isinstance(response, ChatResponse):
                assert response.message.role == MessageRole.ASSISTANT
        assert text_of(responses[-1]).strip(), "no text"

    @contract("llm_completion_callback (llms/callbacks.py, extract_prompt)", COMPLETIONS)
    def test_prompt_may_be_a_keyword(self, llm: LLM, endpoint: Endpoint) -> None:
        """The prompt may be passed as the keyword ``prompt``."""
        for item in self.call(llm, endpoint, prompt=self.prompt):
            assert isinstance(item, CompletionResponse)

    @contract("LLM.predict, which formats the prompt itself (llms/llm.py)", COMPLETIONS)
    def test_formatted_prompt_is_passed_on_unchanged(self, llm: LLM, endpoint: Endpoint) -> None:
        """With ``formatted=True`` the model gets the prompt alone; without, a text holding it."""
        self.needs("supports_formatted")

        self.ask(llm, endpoint)

        seen = self.needs_seen_by_model(llm)
        assert seen == self.prompt if endpoint.formatted else self.prompt in seen

    @contract(
        "caching, evaluation; StreamingResponse, as against Response (base/response/schema.py)",
        ENDPOINTS,
    )
    def test_same_answer_each_time(self, llm: LLM, endpoint: Endpoint) -> None:
        """The same question gets the same answer from all methods, streaming or not."""
        self.needs("is_deterministic")
        assert self.text(llm, endpoint) == self.text(llm, endpoint.sync_whole)

    @contract("BaseLLM.chat: keyword arguments go to the LLM (base/llms/base.py)", METHODS)
    def test_stop_ends_the_answer(self, llm: LLM, endpoint: Endpoint) -> None:
        """``stop=[text]`` of a call ends the answer before that text."""
        self.needs("supports_stop")
        self.needs("is_deterministic")
        whole = self.text(llm, endpoint)
        words = whole.split()
        assert len(words) >= 4, f"override `prompt`: its answer is too short for this: {whole!r}"
        stop = next(
            (word for word in words[len(words) // 2 :] if whole.index(word) > len(words[0])),
            words[1],
        )

        stopped = self.text(llm, endpoint, stop=[stop])

        assert stopped.rstrip() == whole[: whole.index(stop)].rstrip(), f"stop={stop!r}"

    @contract(
        "TokenCountingHandler: dict(response.raw) (callbacks/token_counting.py)",
        ENDPOINTS,
    )
    def test_raw_can_be_read(self, llm: LLM, endpoint: Endpoint) -> None:
        """``raw`` is ``None``, a dictionary or a pydantic object, in each item."""
        for response in self.ask(llm, endpoint):
            assert response.raw is None or isinstance(response.raw, dict | BaseModel)

    @contract(
        "AgentStream.raw, and exporters of events (agent/workflow/workflow_events.py)",
        ENDPOINTS,
    )
    def test_responses_can_be_dumped(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each item can be written as JSON: ``raw`` holds no tensors or clients."""
        for response in self.ask(llm, endpoint):
            raw = response.raw.model_dump() if isinstance(response.raw, BaseModel) else response.raw
            json.loads(response.model_copy(update={"raw": raw}).model_dump_json())

    @contract("TokenCountingHandler (callbacks/token_counting.py)", ENDPOINTS)
    def test_token_counting_handler(
        self, llm: LLM, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The handler counts one call, and exactly the usage if that is returned."""
        counter = TokenCountingHandler(tokenizer=str.split)
        monkeypatch.setattr(llm, "callback_manager", CallbackManager([counter]))

        last = self.ask(llm, endpoint)[-1]

        counted = counter.llm_token_counts
        assert len(counted) == 1, f"{len(counted)} calls counted"
        assert counted[0].total_token_count > 0
        if self.returns_usage_metadata:
            usage = get_tokens_from_response(last)
            assert min(usage) > 0, f"usage {usage} in raw {last.raw!r}"
            assert (counted[0].prompt_token_count, counted[0].completion_token_count) == usage


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
