"""UrialLLM passes the conformance suite for LlamaIndex on the real base model."""

from __future__ import annotations

from typing import ClassVar

import pytest
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from urial_llm_claims import UrialLLMClaims

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from llamaindex_urial.conformance.answers import AnswerTests, ClosingTests, StreamTests
from llamaindex_urial.conformance.concurrency import ConcurrencyTests
from llamaindex_urial.conformance.structured import StructuredTests
from llamaindex_urial.conformance.tools import ToolTests
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
class TestLlamaCpp(
    UrialLLMClaims,
    AnswerTests,
    StreamTests,
    ClosingTests,
    ConcurrencyTests,
    ToolTests,
    StructuredTests,
):
    """llama.cpp in this process, greedy, in short answers: the rules that a backend can break.

    Metadata, events, messages and templates are the adapter's: ``test_llamaindex_fake.py`` tests
    them at all endpoints. Tool calls and structured output need a longer answer.
    """

    quick_endpoints: ClassVar[set[str]] = {"astream_chat"}

    @pytest.fixture
    def llm(self, llama: LlamaCppModel) -> LLM:
        # A penalty would make answers that are certain less so; see the claims' prompts.
        return UrialLLM(llm=llama, prompt="short", max_tokens=7, repetition_penalty=1.0)

    @pytest.fixture
    def tool_llm(self, llama: LlamaCppModel) -> FunctionCallingLLM:
        return UrialLLM(llm=llama, prompt="short", max_tokens=48)

    @pytest.fixture
    def structured_llm(self, llama: LlamaCppModel) -> LLM:
        return UrialLLM(llm=llama, prompt="short", max_tokens=48)


@pytest.mark.model
@pytest.mark.matrix
class TestTransformers(UrialLLMClaims, LLMConformanceTests):
    """transformers in this process in float32, greedy, in short answers: all rules."""

    @pytest.fixture
    def llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=10)

    @pytest.fixture
    def tool_llm(self, demo_model: TransformersModel) -> FunctionCallingLLM:
        return UrialLLM(llm=demo_model, max_tokens=64)

    @pytest.fixture
    def structured_llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=64)
