"""Shared by all tests: the environment, the real base model, and a real server that runs it.

``URIAL_TEST_SERVER`` names the base URL of a server that runs already, such as vLLM (see
``tests/servers/start_vllm.sh``); the same tests run against it.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read by libgomp when torch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent / "servers"))  # for the modules that start them

if TYPE_CHECKING:
    from running_server import RunningServer

    from urial_core.backends.transformers import TransformersModel


@pytest.fixture(scope="session")
def demo_model() -> TransformersModel:
    """The demo extra's base model in float32, where greedy replies are equal to the last token."""
    from urial_core.backends.transformers import TransformersModel
    from urial_core.demo import demo_model_file

    model = TransformersModel(demo_model_file(), dtype="float32")
    model.load()
    return model


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer]:
    """The server of ``URIAL_TEST_SERVER``, or else llama.cpp, started once for all tests.

    Its chat endpoint has the short prompt as its template.
    """
    from running_server import LlamaServer, RunningServer

    from urial_core import load_prompt
    from urial_core.chat_template import chat_template

    if url := os.environ.get("URIAL_TEST_SERVER"):
        yield RunningServer(url)
        return
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    folder = tmp_path_factory.mktemp("server")
    template = folder / "urial.jinja"
    template.write_bytes(chat_template(load_prompt("short")).encode())
    started = LlamaServer(folder, options=["--chat-template-file", str(template)])
    yield started
    started.kill()
