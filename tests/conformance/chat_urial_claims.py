"""What ``ChatUrial`` claims in LangChain's integration suite, whatever runs its model."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_urial import ChatUrial

__all__ = ["BACKEND_TESTS", "ChatUrialClaims"]

BACKEND_TESTS = {
    "test_abatch",
    "test_ainvoke",
    "test_astream",
    "test_batch",
    "test_invoke",
    "test_stop_sequence",
    "test_stream",
    "test_stream_with_model_override",
    "test_structured_output",
    "test_tool_calling",
    "test_tool_message_histories_list_content",
    "test_usage_metadata",
    "test_usage_metadata_streaming",
}
"""Tests of rules that a backend can break; the others are about the adapter alone."""


class ChatUrialClaims(ChatModelIntegrationTests):
    """Claim tools, tool choice, structured output, JSON mode, usage and cached tokens.

    The test of structured output runs with each of the ``methods``.
    """

    methods: ClassVar[tuple[str, ...]] = ("json_schema",)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run one test of structured output with each method, all but the first in the matrix."""
        name = metafunc.function.__name__
        if "structured_output" in name:
            first, *others = metafunc.cls.methods
            in_matrix = [pytest.param(method, marks=pytest.mark.matrix) for method in others]
            methods = [first, *(in_matrix if name == "test_structured_output" else ())]
            metafunc.parametrize("method", methods, indirect=True)

    @pytest.fixture(autouse=True)
    def method(self, request: pytest.FixtureRequest) -> None:
        """Set the method that the test is parametrized with, if any."""
        type(self).structured_output_method = getattr(request, "param", "json_schema")

    @pytest.fixture(autouse=True)
    def max_tokens(self, request: pytest.FixtureRequest) -> None:
        """Leave room for calls and values, which count only when they end; text may be cut."""
        name = request.node.name
        needs_json = any(word in name for word in ("agent", "json", "struct", "tool"))
        type(self).reply_tokens = 400 if needs_json and "tool_message" not in name else 16

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatUrial

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": self.structured_output_method}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        """Ask twice: the second prompt's prefix is cached by the first."""
        model = ChatUrial(**self.chat_model_params)
        model.invoke("Hello")
        if not stream:
            return model.invoke("Good evening")
        whole = AIMessageChunk(content="")
        for chunk in model.stream("Good evening"):
            whole += chunk
        return whole
