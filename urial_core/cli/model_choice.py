"""The model the user chose, made ready with its progress shown."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from urial_core.backends.in_process import model_in_process
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.cache_folder import cache_folder
from urial_core.completion import CompletionModel
from urial_core.demo import DEMO_NOTICE, demo_model_file

__all__ = ["ModelChoice", "ReadyModel", "ready_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model, and how to load it.

    Attributes:
        model: A hub id, a folder or a ``.gguf`` file; None for the demo model.
        engine: What runs it: "auto", "llama.cpp" or "transformers".
        dtype: With transformers: the number format, or "auto".
        device_map: As in transformers' ``from_pretrained``; None for the best single device.
        trust_remote_code: Whether code from the model's repository may run here.
    """

    model: str | None
    engine: str = "auto"
    dtype: str = "auto"
    device_map: str | None = None
    trust_remote_code: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What was said about the engine."""
        said = {
            "dtype": self.dtype if self.dtype != "auto" else None,
            "device_map": self.device_map,
            "trust_remote_code": self.trust_remote_code or None,
        }
        return {"backend": self.engine, **{k: v for k, v in said.items() if v is not None}}


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A loaded model.

    Attributes:
        model: The model.
        description: Its name, engine or number format, and device, in words.
        notice: What must be shown with it; empty for nothing.
    """

    model: CompletionModel
    description: str
    notice: str = ""


def ready_model(choice: ModelChoice, console: Console) -> ReadyModel:
    """Load a model.

    Args:
        choice: Which one, and how.
        console: Where progress is shown.

    Raises:
        MissingDependencyError: A package is not installed.
        ModelLoadError: There is no such model, or it is damaged.
        ParameterError: The number format or an option is unknown.
    """
    source = str(_demo_file(console)) if choice.model is None else choice.model
    model = model_in_process(source, choice.options)
    local = Path(source).expanduser().exists()
    shown = Path(source).name if local else model.name
    if isinstance(model, LlamaCppModel):
        with _waiting(f"Loading {shown}", console, local=True):
            model.load()
        about = f"llama.cpp, {model.n_threads} threads"
    else:
        with _waiting(_loading(shown, local=local), console, local=local):
            about = _loaded_by_transformers(model, choice)
    return ReadyModel(model, f"{shown} · {about}", "" if choice.model else DEMO_NOTICE)


def _loaded_by_transformers(model: TransformersModel, choice: ModelChoice) -> str:
    """Load a model and describe it."""
    _ = model.context_window  # converts a GGUF file in this thread, where Ctrl-C can stop it
    fastest = ", the fastest here" if choice.dtype == "auto" else ""
    return f"{model.dtype}{fastest} · {choice.device_map or _default_place()}"


def _demo_file(console: Console) -> Path:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("Checking the demo model")
        return demo_model_file(lambda done, total: bar.update(task, completed=done, total=total))


def _loading(shown: str, *, local: bool) -> str:
    if local and shown.lower().endswith(".gguf") and not _converted_before(shown):
        return f"Converting {shown}, once; about a minute"
    return f"Loading {shown}"


@contextmanager
def _waiting(text: str, console: Console, *, local: bool) -> Generator[None]:
    """Show that something goes on. Downloads show so themselves, where anything may be shown."""
    # Read when tqdm, huggingface_hub and transformers are imported, which is later.
    if local or console.quiet:
        os.environ.update(TQDM_DISABLE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    if console.quiet:
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not local or not console.is_terminal:
        console.print(Text(text, style="dim"))
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as spinner:
        spinner.add_task(text, total=None)
        yield


def _converted_before(file_name: str) -> bool:
    """Whether a file of that name seems to have been converted; decides words only."""
    folders = (cache_folder() / "models").glob(f"{escape(Path(file_name).stem)}-*/")
    return any(folder.is_dir() for folder in folders)


def _default_place() -> str:
    import torch

    from urial_core.backends.transformers.precision import default_device

    device = default_device()
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return "Apple GPU" if device.type == "mps" else f"CPU, {torch.get_num_threads()} threads"
