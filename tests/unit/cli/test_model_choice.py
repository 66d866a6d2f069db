"""Making the chosen model ready: what is loaded, what is shown meanwhile, what is kept silent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from urial_core.backends import in_process
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.cli import model_choice
from urial_core.cli.model_choice import ModelChoice, ready_model
from urial_core.demo import DEMO_NOTICE


class FakeModel:
    """Stands for the model in process."""

    def __init__(self, source: str | Path, **options: Any) -> None:
        self.name = str(source)
        self.options = options
        self.context_window = 1
        self.dtype = "bfloat16"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Load nothing, and keep the environment as it is."""
    demo_file = tmp_path / "demo.gguf"
    demo_file.touch()
    monkeypatch.setattr(in_process, "TransformersModel", FakeModel)
    monkeypatch.setattr(model_choice, "demo_model_file", lambda progress: demo_file)
    monkeypatch.setattr(model_choice, "_default_place", lambda: "CPU, 2 threads")
    copy = dict(os.environ)
    monkeypatch.setattr(os, "environ", copy)
    return copy


def console(*, terminal: bool = False, quiet: bool = False) -> Console:
    """A console that writes into memory."""
    return Console(file=io.StringIO(), force_terminal=terminal, quiet=quiet, width=100)


def shown(console: Console) -> str:
    """What a console has shown."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_demo(cache: Path) -> None:
    """The demo model comes with its notice; its conversion is announced the first time only."""
    first, later = console(), console()
    ready = ready_model(ModelChoice(model=None, engine="transformers"), first)
    assert ready.description == "demo.gguf · bfloat16, the fastest here · CPU, 2 threads"
    assert ready.notice == DEMO_NOTICE
    assert "Converting demo.gguf, once" in shown(first)
    (cache / "models" / "demo-0123456789ab").mkdir(parents=True)
    ready_model(ModelChoice(model=None, engine="transformers"), later)
    assert shown(later) == "Loading demo.gguf\n"


@pytest.mark.needs("xllamacpp")
def test_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GGUF file runs on llama.cpp as it is, without a conversion, unless dtype is given."""
    monkeypatch.setattr(LlamaCppModel, "load", lambda self: None)
    screen = console()
    ready = ready_model(ModelChoice(model=None), screen)
    assert isinstance(ready.model, LlamaCppModel)
    assert ready.description == f"demo.gguf · llama.cpp, {ready.model.n_threads} threads"
    assert ready.notice == DEMO_NOTICE
    assert shown(screen) == "Loading demo.gguf\n"
    other = ready_model(ModelChoice(model=None, dtype="float32"), console())
    assert isinstance(other.model, FakeModel)


def test_chosen_model() -> None:
    """A hub id is named as it is; format and place are the user's; downloads show their bars."""
    options: dict[str, Any] = {"dtype": "bfloat16", "device_map": "auto", "trust_remote_code": True}
    screen = console(terminal=True)
    ready = ready_model(ModelChoice(model="some/model", **options), screen)
    assert ready.description == "some/model · bfloat16 · auto"
    assert ready.notice == ""
    assert isinstance(ready.model, FakeModel)
    assert ready.model.options == options
    assert "Loading some/model" in shown(screen)
    assert "TQDM_DISABLE" not in os.environ


def test_silence() -> None:
    """A quiet console shows nothing, and the libraries' own bars and warnings are off too."""
    silent = console(quiet=True)
    ready_model(ModelChoice(model="some/model"), silent)
    assert shown(silent) == ""
    assert os.environ["TQDM_DISABLE"] == "1"
    assert os.environ["HF_HUB_VERBOSITY"] == "error"


def test_spinner_for_local_models(tmp_path: Path) -> None:
    """At a terminal, a local model's loading is shown by a spinner in the place of bars."""
    screen = console(terminal=True)
    ready = ready_model(ModelChoice(model=str(tmp_path)), screen)
    assert ready.description.startswith(tmp_path.name)
    assert f"Loading {tmp_path.name}" in shown(screen)
    assert os.environ["TQDM_DISABLE"] == "1"
