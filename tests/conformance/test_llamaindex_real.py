"""UrialLLM keeps the contract of LlamaIndex's LLMs, around the real base model."""

from __future__ import annotations

import pytest
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from urial_llm_claims import UrialLLMClaims

from llamaindex_urial import UrialLLM
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
class TestUrialLLM(UrialLLMClaims):
    """In this process, greedy, in short answers; calls and objects get the room they need."""

    @pytest.fixture
    def llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=10)

    @pytest.fixture
    def caller(self, demo_model: TransformersModel) -> FunctionCallingLLM:
        return UrialLLM(llm=demo_model, max_tokens=64)

    @pytest.fixture
    def filler(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=64)
