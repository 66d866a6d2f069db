"""What the command line's tests share: a cache of their own and models that are scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from urial_core.cli import chat_command
from urial_core.cli.app import app
from urial_core.cli.model_choice import ModelChoice, ReadyModel
from urial_core.testing import FakeModel

RunUrial = Callable[..., Result]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache and settings out of the tests."""
    monkeypatch.setenv("URIAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("URIAL_MODEL", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[ModelChoice]:
    """Record the models that would have been loaded."""
    return []


@pytest.fixture
def run_urial(monkeypatch: pytest.MonkeyPatch, choices: list[ModelChoice]) -> RunUrial:
    """Run ``urial`` with a scripted model in the place of any that would be loaded."""

    def run(
        *arguments: str,
        answers: Iterable[Iterable[str | Exception]] = ("Hello!",),
        stdin: str | bytes = "",
        model: FakeModel | None = None,
        environment: dict[str, str] | None = None,
    ) -> Result:
        scripted = model or FakeModel(*answers)

        def ready(choice: ModelChoice, console: Console) -> ReadyModel:
            choices.append(choice)
            return ReadyModel(scripted, "scripted · no format", "A notice." * (not choice.model))

        monkeypatch.setattr(chat_command, "ready_model", ready)
        return CliRunner().invoke(app, list(arguments), input=stdin, env=environment)

    return run
