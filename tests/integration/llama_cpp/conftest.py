"""The real base model, run by llama.cpp in this process."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from urial_core import UrialChat, load_prompt
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.demo import demo_model_file

UNIT_TESTS = Path(__file__).parents[2] / "unit" / "core"
sys.path.insert(0, str(UNIT_TESTS))  # for `forgeries`


@pytest.fixture(scope="session")
def llama() -> Generator[LlamaCppModel]:
    """One model for all tests here, with four slots."""
    model = LlamaCppModel(demo_model_file(), n_ctx=2048, n_parallel=4)
    yield model
    model.close()


@pytest.fixture
def chat(llama: LlamaCppModel) -> UrialChat:
    """A chat with it and a short prompt."""
    return UrialChat(llama, load_prompt("short"))
