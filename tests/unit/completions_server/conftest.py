"""Fixtures of the completions server tests: no network, and fake API keys in the environment."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

sys.path.insert(0, str(Path(__file__).parent))  # for `fake_server`


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-users-own")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-the-users-own")
    disable_socket(allow_unix_socket=True)  # event loops need pairs of them
    yield
    enable_socket()
