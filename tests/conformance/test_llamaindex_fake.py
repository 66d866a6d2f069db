"""UrialLLM passes the conformance suite for LlamaIndex around a fake model."""

from __future__ import annotations

import pytest
from llama_index.core.llms import LLM

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from urial_core.completion import CompletionRequest
from urial_core.errors import GenerationError
from urial_core.testing import FakeModel


class AnsweringModel(FakeModel):
    """Answer each question with different words, and write on past the answer's end."""

    def _next_script(self, request: CompletionRequest) -> list[str | Exception]:
        super()._next_script(request)
        query = request.prompt.rpartition("# Query:\n````\n")[2].partition("\n````\n")[0]
        return ["You ", "asked ", "about ", f"{query[-40:]}.", "\n````\n", "# Query:"]


class TestUrialLLM(LLMConformanceTests):
    """Around a fake of a remote model: each piece takes time, and requests run at once."""

    @pytest.fixture
    def model(self) -> FakeModel:
        return AnsweringModel(delay=0.02)

    @pytest.fixture
    def llm(self, model: FakeModel) -> LLM:
        return UrialLLM(llm=model, api_key="hf_secret")

    @pytest.fixture
    def failing_llm(self) -> LLM:
        return UrialLLM(llm=FakeModel(["Bees ", GenerationError("the model broke")]))

    returns_usage_metadata = True
    supports_concurrency = True
    cancels_on_close = True
    closes_without_error = True

    @property
    def secrets(self) -> list[str]:
        return ["hf_secret"]

    def seen_by_model(self, llm: LLM) -> str:
        assert isinstance(llm, UrialLLM)
        return str(llm.llm.requests[-1].prompt)

    def generation_stopped(self, llm: LLM) -> bool:
        assert isinstance(llm, UrialLLM)
        return bool(llm.llm.closed)
