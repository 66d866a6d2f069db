"""UrialLLM keeps the contract of LlamaIndex's LLMs, around the real base model."""

from __future__ import annotations

import pytest
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
class TestUrialLLM(LLMConformanceTests):
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

    @property
    def prompt(self) -> str:
        return "Name three colors."

    @property
    def supports_tools(self) -> bool:
        return True

    @property
    def returns_usage(self) -> bool:
        return True

    @property
    def closes_quietly(self) -> bool:
        return True
