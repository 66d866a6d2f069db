"""The suite for LLMs of LlamaIndex passes an LLM that keeps the contract, and fails others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from llama_index.core.llms import LLM
from scripted_llm import ScriptedLLM

from llamaindex_urial.conformance import LLMConformanceTests


class TestScriptedLLM(LLMConformanceTests):
    """It keeps every rule, and claims everything."""

    @pytest.fixture
    def llm(self) -> LLM:
        return ScriptedLLM()

    @pytest.fixture
    def failing_llm(self) -> LLM:
        return ScriptedLLM(fails=True)

    @property
    def returns_usage(self) -> bool:
        return True

    @property
    def concurrent(self) -> bool:
        return True

    @property
    def stops_on_close(self) -> bool:
        return True

    @property
    def closes_quietly(self) -> bool:
        return True

    @property
    def supports_tools(self) -> bool:
        return True

    @property
    def secrets(self) -> Sequence[str]:
        return [ScriptedLLM().api_key]

    def seen_by_model(self, llm: LLM) -> str | None:
        assert isinstance(llm, ScriptedLLM)
        return llm.seen[-1]

    def source_stopped(self, llm: LLM) -> bool:
        assert isinstance(llm, ScriptedLLM)
        return not llm.sources[-1].running
