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
from urial_core.completion import CompletionModel


class InProcessTests(BackendTests):
    """Greedy, in short answers; tool calls and objects get longer ones."""

    @pytest.fixture
    def llm(self, model: CompletionModel) -> LLM:
        # A penalty would make answers that are certain less so; see the claims' prompts.
        return UrialLLM(llm=model, prompt="short", max_tokens=7, repetition_penalty=1.0)

    @pytest.fixture
    def tool_llm(self, model: CompletionModel) -> FunctionCallingLLM:
        return UrialLLM(llm=model, prompt="short", max_tokens=64)

    @pytest.fixture
    def structured_llm(self, model: CompletionModel) -> LLM:
        return UrialLLM(llm=model, prompt="short", max_tokens=64)


@pytest.mark.model
@pytest.mark.matrix
class TestLlamaCpp(InProcessTests):
    """llama.cpp in this process, at two endpoints, a whole one and a streamed one."""

    endpoints: ClassVar[set[str]] = {"achat", "stream_chat"}

    @pytest.fixture
    def model(self, llama: LlamaCppModel) -> CompletionModel:
        return llama


@pytest.mark.model
@pytest.mark.matrix
class TestTransformers(InProcessTests):
    """transformers in this process in float32, at the other two."""

    endpoints: ClassVar[set[str]] = {"chat", "astream_chat"}

    @pytest.fixture
    def model(self, demo_model: TransformersModel) -> CompletionModel:
        return demo_model
