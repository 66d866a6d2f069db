"""Responses of the eight methods: types, texts, ``formatted``, ``stop``, ``raw`` and usage."""

from __future__ import annotations

import json

import pytest
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse, MessageRole
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import (
    COMPLETIONS,
    ENDPOINTS,
    METHODS,
    Endpoint,
    text_of,
)
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["AnswerTests"]


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
