"""Shared by the conformance tests: imports from this folder, llama.cpp, and what is selected."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.demo import demo_model_file


@pytest.fixture(scope="session")
def llama() -> Generator[LlamaCppModel]:
    """Return the demo model, quantized, run by llama.cpp in this process on one thread."""
    model = LlamaCppModel(demo_model_file(), n_ctx=2048, n_parallel=2, n_threads=1)
    yield model
    model.close()


@pytest.hookimpl(tryfirst=True)  # before items are deselected by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep some tests or endpoints of a class only, and leave all but quick ones to the matrix."""
    kept, deselected = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        suite, name = getattr(item, "cls", None), getattr(item, "originalname", "")
        if name not in getattr(suite, "quick", {name}):
            item.add_marker(pytest.mark.matrix)
        callspec = getattr(item, "callspec", None)
        endpoint = str(callspec.params.get("endpoint", "")) if callspec is not None else ""
        wanted = endpoint in getattr(suite, "endpoints", {endpoint}) or not endpoint
        (kept if wanted and name in getattr(suite, "only", {name}) else deselected).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=deselected)
