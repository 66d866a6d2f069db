"""UrialLLM passes the conformance suite for LlamaIndex on the real base model."""

from __future__ import annotations

from typing import ClassVar

import pytest
from backend_tests import BackendTests
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from llamaindex_urial import UrialLLM
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
@pytest.mark.matrix
class TestTransformers(BackendTests):
    """transformers in this process, in float32, at two endpoints, a whole one and a streamed one.

    Greedy, in short answers; tool calls and objects get longer ones. LangChain's suite runs on
    llama.cpp and on a server: what a backend can break is the same behind both adapters.
    """

    endpoints: ClassVar[set[str]] = {"chat", "astream_chat"}

    @pytest.fixture
    def llm(self, demo_model: TransformersModel) -> LLM:
        # A penalty would make answers that are certain less so; see the claims' prompts.
        return UrialLLM(llm=demo_model, prompt="short", max_tokens=7, repetition_penalty=1.0)

    @pytest.fixture
    def tool_llm(self, demo_model: TransformersModel) -> FunctionCallingLLM:
        return UrialLLM(llm=demo_model, prompt="short", max_tokens=64)

    @pytest.fixture
    def structured_llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, prompt="short", max_tokens=64)
