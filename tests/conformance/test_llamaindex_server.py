"""UrialLLM passes the conformance suite for LlamaIndex on a real server's base model."""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

import pytest
from backend_tests import BackendTests
from fault_proxy import FaultProxy
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from running_server import RunningServer

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance.answers import ClosingTests


@pytest.mark.model
@pytest.mark.server
@pytest.mark.matrix
class TestUrialLLM(BackendTests):
    """Greedy, in short answers; tool calls and structured output get more tokens.

    Two endpoints, a whole one and a streamed one, use every request to the server.
    """

    endpoints: ClassVar[set[str]] = {"achat", "stream_chat"}

    @pytest.fixture
    def llm(self, server: RunningServer) -> LLM:
        # A penalty would make answers that are certain less so; see the claims' prompts.
        certain = {"max_tokens": 7, "repetition_penalty": 1.0}
        return UrialLLM.from_endpoint(server.base_url, prompt="short", timeout=120, **certain)

    @pytest.fixture
    def failing_llm(self, server: RunningServer) -> Generator[LLM]:
        with FaultProxy(server.url) as proxy:
            llm = UrialLLM.from_endpoint(proxy.base_url, max_retries=0, timeout=120)
            assert llm.metadata.context_window  # asks the server for it
            proxy.cut_after = 100
            yield llm

    @pytest.fixture
    def tool_llm(self, server: RunningServer) -> FunctionCallingLLM:
        return UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=64, timeout=120)

    @pytest.fixture
    def structured_llm(self, server: RunningServer) -> LLM:
        return UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=64, timeout=120)


@pytest.mark.model
@pytest.mark.server
@pytest.mark.matrix
class TestClosing(ClosingTests):
    """Closing a stream stops a server that would generate for long."""

    # The answers are too long for these; TestUrialLLM runs them.
    test_closing_early = None
    test_closing_early_is_no_error = None
    test_errors_reach_the_caller = None

    @pytest.fixture
    def llm(self, server: RunningServer) -> LLM:
        type(self).server = server
        endless = server.model(extra_body={"ignore_eos": True, "stop": None})
        return UrialLLM(llm=endless, prompt="short", max_tokens=1000)

    cancels_on_close = True

    def generation_stopped(self, llm: LLM) -> bool:
        return not self.server.busy()
