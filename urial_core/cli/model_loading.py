"""Load the chosen model and show the progress."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
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

from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.in_process import InProcessModel, backend_for, model_in_process
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.cache_folder import cache_folder
from urial_core.demo import demo_model_file
from urial_core.errors import ParameterError

__all__ = ["load_model", "server_model"]


def server_model(url: str, options: Mapping[str, Any]) -> tuple[CompletionsServerModel, str]:
    """Return the model behind a server's URL, with a description: its name and the URL.

    Args:
        url: The URL of an OpenAI-style ``/v1/completions``; ``#NAME`` chooses one of its models.
        options: Those of a model in this process, none of which may be set: None and "auto" leave
            one at its default.

    Raises:
        ParameterError: An option is set.
        ServerError: There is no such server.
        MissingDependencyError: A package is not installed.
    """
    if chosen := [option for option, value in options.items() if value not in (None, "auto")]:
        verb = "it applies" if len(chosen) == 1 else "they apply"
        raise ParameterError(
            f"{', '.join(chosen)}: {verb} only to a model in this process, not to one on a server."
        )
    model = CompletionsServerModel(url)
    return model, f"{model.name} · {url}"


def load_model(
    model_id: str | None, options: Mapping[str, Any], console: Console
) -> tuple[InProcessModel, str]:
    """Load a model; return it with a description: its name, and its backend or dtype and device.

    Args:
        model_id: A hub id, a local folder or a ``.gguf`` file; None for the demo model.
        options: The backend and its options, as ``model_in_process`` takes them; and
            ``context_window`` and ``n_parallel``, for which llama.cpp allocates memory.
        console: Where progress is shown.

    Raises:
        MissingDependencyError: A package is not installed.
        ModelLoadError: There is no such model, or it is damaged.
        ParameterError: The dtype or an option is unknown.
    """
    source = str(_demo_file(console)) if model_id is None else model_id
    options = dict(options)
    sizes = {
        "n_ctx": options.pop("context_window", None),
        "n_parallel": options.pop("n_parallel", None),
    }
    backend = options.get("backend", "auto")
    if backend == "auto":
        backend = backend_for(source, {k: v for k, v in options.items() if k != "backend"})
    if backend == "llama.cpp":
        options |= {name: size for name, size in sizes.items() if size is not None}
    model = model_in_process(source, options)
    local = Path(source).expanduser().exists()
    name = Path(source).name if local else model.name
    if isinstance(model, LlamaCppModel):
        with _waiting(f"Loading {name}", console, local=True):
            info = model.info
        slots = f", {info['slots']} slots" if info["slots"] > 1 else ""
        return model, f"{name} · llama.cpp, {info['threads']} threads{slots}"
    convert = local and name.lower().endswith(".gguf") and not _converted_before(name)
    text = f"Converting {name}, once; about a minute" if convert else f"Loading {name}"
    with _waiting(text, console, local=local):
        _ = model.context_window  # converts a GGUF file in this thread, where Ctrl-C can stop it
        fastest = "" if "dtype" in options else ", the fastest here"
        info = model.info
        threads = f", {info['threads']} threads" if info["device"] == "CPU" else ""
        packed = ", packed weights" if info["packed_weights"] else ""
        return model, f"{name} · {info['dtype']}{fastest}{packed} · {info['device']}{threads}"


def _demo_file(console: Console) -> Path:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("Checking the demo model")
        return demo_model_file(lambda done, total: bar.update(task, completed=done, total=total))


@contextmanager
def _waiting(text: str, console: Console, *, local: bool) -> Generator[None]:
    """Show that something is being loaded; downloads show their own progress bars."""
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
    """Guess from the names in the cache folder whether a file was converted before."""
    folders = (cache_folder() / "models").glob(f"{escape(Path(file_name).stem)}-*/")
    return any(folder.is_dir() for folder in folders)
