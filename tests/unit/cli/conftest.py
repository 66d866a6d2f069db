"""Shared by the command line's tests: a cache folder of their own and fake models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from urial_core.cli import chat_command
from urial_core.cli.app import app
from urial_core.testing import FakeModel

RunUrial = Callable[..., Result]
Loaded = list[tuple[str | None, Mapping[str, Any]]]
"""The model id and the options of each model that would have been loaded."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache and settings out of the tests."""
    monkeypatch.setenv("URIAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("URIAL_MODEL", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def loaded() -> Loaded:
    """Record the models that would have been loaded."""
    return []


@pytest.fixture
def run_urial(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> RunUrial:
    """Run ``urial`` with a fake model in the place of any that would be loaded."""

    def run(
        *arguments: str,
        answers: Iterable[Iterable[str | Exception]] = ("Hello!",),
        stdin: str | bytes = "",
        model: FakeModel | None = None,
        environment: dict[str, str] | None = None,
    ) -> Result:
        fake = model or FakeModel(*answers)

        def load_model(
            model_id: str | None, options: Mapping[str, Any], console: Console
        ) -> tuple[FakeModel, str]:
            loaded.append((model_id, options))
            return fake, "fake · no dtype"

        monkeypatch.setattr(chat_command, "load_model", load_model)
        return CliRunner().invoke(app, list(arguments), input=stdin, env=environment)

    return run
