"""Loading the chosen model: what is loaded, the progress shown, and silence where required."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from urial_core.backends import in_process
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.cli import chat_command, model_loading
from urial_core.cli.app import app
from urial_core.cli.model_loading import load_model
from urial_core.errors import ModelLoadError


class FakeModel:
    """A fake of the transformers model."""

    def __init__(self, source: str | Path, **options: Any) -> None:
        self.name = str(source)
        self.options = options
        self.context_window = 1
        self.info = {
            "dtype": "bfloat16",
            "device": "CPU",
            "threads": 2,
            "packed_weights": "dtype" not in options,
        }


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Load nothing, and have no progress bars turned off so far."""
    demo_file = tmp_path / "demo.gguf"
    demo_file.touch()
    monkeypatch.setattr(in_process, "TransformersModel", FakeModel)
    monkeypatch.setattr(model_loading, "demo_model_file", lambda progress: demo_file)
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_VERBOSITY"):
        monkeypatch.delenv(name, raising=False)


def console(*, terminal: bool = False, quiet: bool = False) -> Console:
    """Return a console that writes into memory."""
    return Console(file=io.StringIO(), force_terminal=terminal, quiet=quiet, width=100)


def shown(console: Console) -> str:
    """Return what a console has shown."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_demo(cache: Path) -> None:
    """Announce the demo model's conversion the first time only."""
    first, later = console(), console()
    _, description = load_model(None, {"backend": "transformers"}, first)
    assert description == "demo.gguf · bfloat16, the fastest here, packed weights · CPU, 2 threads"
    assert "Converting demo.gguf, once" in shown(first)
    (cache / "models" / "demo-0123456789ab").mkdir(parents=True)
    load_model(None, {"backend": "transformers"}, later)
    assert shown(later) == "Loading demo.gguf\n"


@pytest.mark.needs("xllamacpp")
def test_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a GGUF file on llama.cpp without a conversion, unless a dtype is given."""
    info = property(lambda _: {"threads": 2, "slots": 16})
    monkeypatch.setattr(LlamaCppModel, "info", info)
    screen = console()
    model, description = load_model(None, {}, screen)
    assert isinstance(model, LlamaCppModel)
    assert description == "demo.gguf · llama.cpp, 2 threads, 16 slots"
    assert shown(screen) == "Loading demo.gguf\n"
    monkeypatch.setattr(LlamaCppModel, "info", property(lambda _: {"threads": 2, "slots": 1}))
    assert load_model(None, {}, console())[1] == "demo.gguf · llama.cpp, 2 threads"
    other, _ = load_model(None, {"dtype": "float32"}, console())
    assert isinstance(other, FakeModel)


def test_chosen_model() -> None:
    """Name a hub id in full; use the user's dtype and device; downloads show their own bars."""
    options: dict[str, Any] = {"dtype": "bfloat16", "device_map": "auto", "trust_remote_code": True}
    screen = console(terminal=True)
    model, description = load_model("some/model", options, screen)
    assert description == "some/model · bfloat16 · CPU, 2 threads"
    assert isinstance(model, FakeModel)
    assert model.options == options
    assert "Loading some/model" in shown(screen)
    assert "TQDM_DISABLE" not in os.environ


def test_silence() -> None:
    """Show nothing on a quiet console, and turn off the libraries' own bars and warnings."""
    silent = console(quiet=True)
    load_model("some/model", {}, silent)
    assert shown(silent) == ""
    assert os.environ["TQDM_DISABLE"] == "1"
    assert os.environ["HF_HUB_VERBOSITY"] == "error"


def test_spinner_for_local_models(tmp_path: Path) -> None:
    """Show a spinner instead of bars while a local model is loaded at a terminal."""
    screen = console(terminal=True)
    _, description = load_model(str(tmp_path), {}, screen)
    assert description.startswith(tmp_path.name)
    assert f"Loading {tmp_path.name}" in shown(screen)
    assert os.environ["TQDM_DISABLE"] == "1"


@pytest.mark.needs("xllamacpp")
@pytest.mark.parametrize(
    ("options", "n_ctx", "n_parallel"),
    [
        ({}, "None", "None"),
        ({"context_window": 2048}, "2048", "None"),
        ({"context_window": 2048, "n_parallel": 1}, "2048", "1"),
    ],
)
def test_sizes_are_set_where_memory_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: dict[str, Any],
    n_ctx: str,
    n_parallel: str,
) -> None:
    """llama.cpp allocates memory for window and slots; transformers as it goes."""
    monkeypatch.setattr(LlamaCppModel, "info", property(lambda _: {"threads": 2, "slots": 4}))
    model, _ = load_model(str(tmp_path / "a.gguf"), options, console())
    assert (model.cache_key["n_ctx"], model.cache_key["n_parallel"]) == (n_ctx, n_parallel)
    model, _ = load_model("some/model", options, console())
    assert isinstance(model, FakeModel)
    assert model.options == {}


@pytest.mark.needs("xllamacpp")
@pytest.mark.parametrize(("arguments", "slots"), [((), 1), (("--decoding", "best_of_n"), None)])
def test_a_chat_has_all_memory_for_one_window(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], slots: int | None
) -> None:
    """``urial chat`` writes one reply at a time, unless its strategy draws several."""
    asked = list[dict[str, Any]]()

    def load(_: str | None, options: dict[str, Any], __: Console) -> Any:
        asked.append(options)
        raise ModelLoadError("enough")

    monkeypatch.setattr(chat_command, "load_model", load)
    assert CliRunner().invoke(app, ["chat", "--demo", *arguments]).exit_code
    assert [options.get("n_parallel") for options in asked] == [slots]
