"""UrialLLM keeps the contract of LlamaIndex's LLMs, around the real base model."""

from __future__ import annotations

import pytest
from llama_index.core.llms import LLM

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
class TestUrialLLM(LLMConformanceTests):
    """In this process, greedy, with room enough for a call and not much more."""

    @pytest.fixture
    def llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=40)

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
