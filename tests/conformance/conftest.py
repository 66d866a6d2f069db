"""Shared by the conformance tests: imports from this folder, and what is selected."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


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
