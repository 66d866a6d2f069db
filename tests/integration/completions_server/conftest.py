"""Models of the shared server."""

from __future__ import annotations

import pytest
from running_server import RunningServer

from langchain_urial import ChatUrial
from urial_core.backends.completions_server import CompletionsServerModel


@pytest.fixture
def model(server: RunningServer) -> CompletionsServerModel:
    """A new model of the server."""
    return server.model()


@pytest.fixture
def chat(server: RunningServer) -> ChatUrial:
    """A greedy chat model with a short prompt."""
    return ChatUrial.from_endpoint(server.base_url, prompt="short", max_tokens=24, timeout=120.0)
