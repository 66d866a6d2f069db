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
    """Keep a class to its ``endpoints``, and leave all but its ``quick`` tests to the matrix.

    Skip those that it has ``left_out``, for the reason given.
    """
    kept, deselected = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        name = getattr(item, "originalname", "")
        if reason := getattr(getattr(item, "cls", None), "left_out", {}).get(name):
            item.add_marker(pytest.mark.skip(reason=reason))
        quick = getattr(getattr(item, "cls", None), "quick", None)
        if quick and name not in quick:
            item.add_marker(pytest.mark.matrix)
        callspec = getattr(item, "callspec", None)
        endpoint = str(callspec.params.get("endpoint", "")) if callspec is not None else ""
        wanted = getattr(getattr(item, "cls", None), "endpoints", None)
        (deselected if endpoint and wanted and endpoint not in wanted else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=deselected)
