"""A real server for all tests here, started once.

``URIAL_TEST_SERVER`` names the base URL of one that runs already, such as vLLM (see
``tests/servers/start_vllm.sh``); the same tests run against it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that all files share

from running_server import LlamaServer, RunningServer

from langchain_urial import ChatUrial
from urial_core.backends.completions_server import CompletionsServerModel


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer]:
    """The server."""
    if url := os.environ.get("URIAL_TEST_SERVER"):
        yield RunningServer(url)
        return
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    started = LlamaServer(tmp_path_factory.mktemp("slots"))
    yield started
    started.kill()


@pytest.fixture
def model(server: RunningServer) -> CompletionsServerModel:
    """A fresh model that talks to it."""
    return server.model()


@pytest.fixture
def chat(server: RunningServer) -> ChatUrial:
    """A greedy chat model with a short page."""
    return ChatUrial.from_endpoint(server.base_url, prompt="short", max_tokens=24, timeout=120.0)
