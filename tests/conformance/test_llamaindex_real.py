"""UrialLLM keeps the contract of LlamaIndex's LLMs, around the real base model."""

from __future__ import annotations

import pytest
from llama_index.core.llms import LLM

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from urial_core.backends.transformers import TransformersModel


@pytest.mark.model
class TestUrialLLM(LLMConformanceTests):
    """In this process, greedy, in short answers."""

    @pytest.fixture
    def llm(self, demo_model: TransformersModel) -> LLM:
        return UrialLLM(llm=demo_model, max_tokens=12)

    @property
    def returns_usage(self) -> bool:
        return True

    @property
    def closes_quietly(self) -> bool:
        return True
