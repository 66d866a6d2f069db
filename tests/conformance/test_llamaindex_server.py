"""What of the conformance suite for LlamaIndex is about a server: concurrency, errors, closing.

Its other rules are LangChain's suite's, too, which runs on the same server.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

import pytest
from backend_tests import BackendTests
from fault_proxy import FaultProxy
from llama_index.core.llms import LLM
from running_server import RunningServer

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance.answers import ClosingTests


@pytest.mark.model
@pytest.mark.server
@pytest.mark.matrix
class TestUrialLLM(BackendTests):
    """Greedy, in short answers, at two endpoints, a whole one and a streamed one."""

    endpoints: ClassVar[set[str]] = {"achat", "stream_chat"}
    only: ClassVar[set[str]] = {
        "test_answers_are_not_mixed_up",
        "test_awaited_together_is_faster",
        "test_closing_early",
        "test_closing_early_is_no_error",
        "test_does_not_block_the_event_loop",
        "test_errors_reach_the_caller",
    }

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
