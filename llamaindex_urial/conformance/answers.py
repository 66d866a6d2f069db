"""Every method gives an answer of the right type, with a text."""

from __future__ import annotations

import inspect
import json

import pytest
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse, MessageRole
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.callbacks import TokenCountingHandler
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.endpoints import CELLS, ENDPOINTS, Endpoint, text_of
from llamaindex_urial.conformance.recording import calling_back

__all__ = ["AnswerTests"]


class AnswerTests(LLMClaims):
    """Types, texts, ``formatted``, ``stop``, ``raw`` and usage."""

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("LLM.predict and every engine (llms/llm.py)")
    def test_answers(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each method gives a response of its type, with text; chat's is the assistant's."""
        responses = self.ask(llm, endpoint)

        assert responses, "no item"
        for response in responses:
            assert isinstance(response, ChatResponse if endpoint.is_chat else CompletionResponse)
            if isinstance(response, ChatResponse):
                assert response.message.role == MessageRole.ASSISTANT
        assert text_of(responses[-1]).strip(), "no text"

    @pytest.mark.parametrize("endpoint", [e for e in CELLS if not e.is_chat], ids=str)
    @contract("llm_completion_callback (llms/callbacks.py, extract_prompt)")
    def test_prompt_may_be_a_keyword(self, llm: LLM, endpoint: Endpoint) -> None:
        """The prompt may be given as the keyword ``prompt``."""
        method = getattr(llm, endpoint.method)

        if endpoint.is_async:
            answer = self.run_async(method(prompt=self.prompt, **endpoint.arguments))
        else:
            answer = self.run(lambda: method(prompt=self.prompt, **endpoint.arguments))

        if inspect.isasyncgen(answer):
            self.run_async(answer.aclose())
        elif inspect.isgenerator(answer):
            self.run(answer.close)
        else:
            assert isinstance(answer, CompletionResponse)

    @pytest.mark.parametrize("endpoint", [e for e in CELLS if not e.is_chat], ids=str)
    @contract("LLM.predict, which formats the prompt itself (llms/llm.py)")
    def test_formatted_prompt_is_passed_on_as_it_is(self, llm: LLM, endpoint: Endpoint) -> None:
        """With ``formatted=True`` the model sees the prompt as it is; without, it holds it."""
        self.needs("supports_formatted")

        self.ask(llm, endpoint)

        seen = self.seen_by_model(llm)
        if seen is None:
            pytest.skip("`seen_by_model` does not say")
        assert seen == self.prompt if endpoint.formatted else self.prompt in seen

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("whoever compares methods: caching, evaluation, streaming engines")
    def test_same_answer_each_time(self, llm: LLM, endpoint: Endpoint) -> None:
        """The same question gets the same answer, from awaited methods as from the others."""
        self.needs("deterministic")
        plain = Endpoint(endpoint.whole.method.removeprefix("a"), endpoint.formatted)

        assert self.text(llm, endpoint) == self.text(llm, plain)

    @pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
    @contract("BaseLLM.chat: keyword arguments go to the LLM (base/llms/base.py)")
    def test_stop_ends_the_answer(self, llm: LLM, endpoint: Endpoint) -> None:
        """``stop=[text]`` of a call ends the answer before that text."""
        self.needs("honours_stop")
        self.needs("deterministic")
        whole = self.text(llm, endpoint)
        words = whole.split()
        assert len(words) >= 4, f"override `prompt`: its answer is too short for this: {whole!r}"
        stop = next(
            (word for word in words[len(words) // 2 :] if whole.index(word) > len(words[0])),
            words[1],
        )

        stopped = self.text(llm, endpoint, stop=[stop])

        assert stopped.rstrip() == whole[: whole.index(stop)].rstrip(), f"stop={stop!r}"

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("TokenCountingHandler: dict(response.raw) (callbacks/token_counting.py)")
    def test_raw_can_be_read(self, llm: LLM, endpoint: Endpoint) -> None:
        """``raw`` is nothing, a dictionary or a pydantic object, in each item."""
        for response in self.ask(llm, endpoint):
            assert response.raw is None or isinstance(response.raw, dict | BaseModel)

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("AgentStream.raw, and exporters of events (agent/workflow/workflow_events.py)")
    def test_responses_can_be_dumped(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each item can be written as JSON: no tensors or clients in ``raw``."""
        for response in self.ask(llm, endpoint):
            raw = response.raw.model_dump() if isinstance(response.raw, BaseModel) else response.raw
            json.loads(response.model_copy(update={"raw": raw}).model_dump_json())

    @pytest.mark.parametrize("endpoint", CELLS, ids=str)
    @contract("TokenCountingHandler (callbacks/token_counting.py)")
    def test_token_counting_handler(self, llm: LLM, endpoint: Endpoint) -> None:
        """The handler counts one call; where usage is returned, it counts just that."""
        counter = TokenCountingHandler(tokenizer=str.split)

        with calling_back(llm, counter):
            last = self.ask(llm, endpoint)[-1]

        counted = counter.llm_token_counts
        assert len(counted) == 1, f"{len(counted)} calls counted"
        assert counted[0].total_token_count > 0
        if self.returns_usage:
            usage = get_tokens_from_response(last)
            assert min(usage) > 0, f"usage {usage} in raw {last.raw!r}"
            assert (counted[0].prompt_token_count, counted[0].completion_token_count) == usage
