"""LangChain's own test suite for chat models, on a real server's base model."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from chat_urial_claims import BACKEND_TESTS, ChatUrialClaims
from running_server import NAMES, RunningServer

from langchain_urial import ChatUrial


@pytest.mark.model
@pytest.mark.server
@pytest.mark.matrix
class TestServer(ChatUrialClaims):
    """What a backend can break of it, greedy, with the short prompt."""

    methods: ClassVar[tuple[str, ...]] = ("function_calling",)
    only: ClassVar[set[str]] = BACKEND_TESTS

    @pytest.fixture(autouse=True)
    def _use_server(self, server: RunningServer) -> None:
        # The suite's properties are read after this fixture has run.
        type(self).server = server

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # Named, the model is not asked for now; one of the suite's tests would record that.
        chat = ChatUrial.from_endpoint(self.server.base_url, NAMES[0], timeout=120.0)
        return {"llm": chat.llm, "prompt": "short", "max_tokens": self.reply_tokens}

    @property
    def model_override_value(self) -> str:
        return NAMES[1]
