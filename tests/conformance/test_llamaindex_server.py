"""UrialLLM keeps the contract of LlamaIndex's LLMs, with its base model behind a real server."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from fault_proxy import FaultProxy
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from running_server import RunningServer
from urial_llm_claims import UrialLLMClaims

from llamaindex_urial import UrialLLM


@pytest.mark.model
@pytest.mark.server
class TestUrialLLM(UrialLLMClaims):
    """Greedy, in short answers; calls and objects get the room they need."""

    @pytest.fixture
    def llm(self, server: RunningServer) -> LLM:
        return UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=10, timeout=120)

    @pytest.fixture
    def failing_llm(self, server: RunningServer) -> Generator[LLM]:
        with FaultProxy(server.url) as proxy:
            llm = UrialLLM.from_endpoint(proxy.base_url, max_retries=0, timeout=120)
            assert llm.metadata.context_window  # asks the server what there is to know
            proxy.cut_after = 100
            yield llm

    @pytest.fixture
    def caller(self, server: RunningServer) -> FunctionCallingLLM:
        return UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=64, timeout=120)

    @pytest.fixture
    def filler(self, server: RunningServer) -> LLM:
        return UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=64, timeout=120)
