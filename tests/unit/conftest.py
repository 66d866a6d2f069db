"""What unit tests share: no network, and nothing of the user's own settings."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

sys.path.insert(0, str(Path(__file__).parent))  # for what several folders share


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Generator[None]:
    """Open no sockets; files that say ``enable_socket`` may talk to servers of their own."""
    if request.node.get_closest_marker("enable_socket"):
        socket_allow_hosts(["127.0.0.1", "localhost"])
    else:
        disable_socket(allow_unix_socket=True)  # event loops need pairs of them
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's own model, cache and keys out of the tests."""
    monkeypatch.setenv("URIAL_CACHE", str(tmp_path / "cache"))
    for name in ("URIAL_MODEL", "OPENAI_API_KEY", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)
