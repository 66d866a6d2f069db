"""UrialLLM passes the conformance suite for LlamaIndex on the real base model."""

from __future__ import annotations

from typing import ClassVar

import pytest
from backend_tests import BackendTests
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from llamaindex_urial import UrialLLM
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
@pytest.mark.matrix
class TestLlamaCpp(BackendTests):
    """llama.cpp in this process, greedy, in short answers; tools and objects get longer ones."""

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
class TestTransformers(BackendTests):
    """transformers in this process in float32, greedy, in short answers."""

    endpoints: ClassVar[set[str]] = {"chat", "astream_chat"}

    @pytest.fixture
    def llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=10)

    @pytest.fixture
    def tool_llm(self, demo_model: TransformersModel) -> FunctionCallingLLM:
        return UrialLLM(llm=demo_model, max_tokens=64)

    @pytest.fixture
    def structured_llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=64)
