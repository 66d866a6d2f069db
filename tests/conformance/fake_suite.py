"""The conformance suite for LlamaIndex on the fake LLM, which claims everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from fake_llm import FakeLLM
from llama_index.core.llms import LLM

from llamaindex_urial.conformance import LLMConformanceTests

__all__ = ["FakeSuite"]


class FakeSuite(LLMConformanceTests):
    """Run all tests.

    Attributes:
        llm_class: The class to test.
        options: Its constructor's arguments.
    """

    llm_class: ClassVar[type[FakeLLM]] = FakeLLM
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def llm(self) -> LLM:
        return self.llm_class(**self.options)

    @pytest.fixture
    def failing_llm(self) -> LLM:
        return self.llm_class(fails_midway=True, **self.options)

    returns_usage_metadata = True
    supports_concurrency = True
    cancels_on_close = True
    closes_without_error = True
    has_tool_calling = True

    @property
    def secrets(self) -> Sequence[str]:
        return [FakeLLM().api_key]

    def seen_by_model(self, llm: LLM) -> str | None:
        assert isinstance(llm, FakeLLM)
        return llm.seen[-1]

    def generation_stopped(self, llm: LLM) -> bool:
        assert isinstance(llm, FakeLLM)
        return not llm.sources[-1].running
