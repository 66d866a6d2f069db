"""What the tests of completions servers share: no network, and nothing of the user's own keys."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

sys.path.insert(0, str(Path(__file__).parent))  # for `fake_server`, which all files share


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-users-own")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-the-users-own")
    disable_socket(allow_unix_socket=True)  # event loops need pairs of them
    yield
    enable_socket()
