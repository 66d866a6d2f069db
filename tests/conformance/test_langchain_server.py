"""LangChain's own test suite for chat models, on the real base model behind a real server."""

from __future__ import annotations

from typing import Any

import pytest
from chat_urial_claims import ChatUrialClaims
from running_server import SECOND_NAME, RunningServer

from langchain_urial import ChatUrial


@pytest.mark.model
@pytest.mark.server
class TestServer(ChatUrialClaims):
    """The integration suite, greedy."""

    @pytest.fixture(autouse=True)
    def _use_server(self, server: RunningServer) -> None:
        # The suite's properties are read after this fixture has run.
        type(self).server = server

    @property
    def chat_model_params(self) -> dict[str, Any]:
        named = ChatUrial.from_endpoint(self.server.base_url, timeout=120.0)
        return {"llm": named.llm, "max_tokens": 100, "timeout": 120.0}

    @property
    def model_override_value(self) -> str:
        return SECOND_NAME
