"""Loading: a model id, a folder or a GGUF file becomes a model and its tokenizer."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from urial_core.backends.transformers.grouped_attention import use_grouped_attention
from urial_core.backends.transformers.precision import default_device, resolve_dtype
from urial_core.backends.transformers.source import Source
from urial_core.cache_folder import cache_folder
from urial_core.errors import MissingDependencyError, ModelLoadError, UrialError

__all__ = ["converted_gguf", "load_config", "load_model", "load_tokenizer"]

logger = logging.getLogger(__name__)


def load_config(source: Source) -> Any:
    """Load a model's configuration."""
    with _clear_errors(source, "configuration"):
        return AutoConfig.from_pretrained(_folder_or_id(source), **_hub(source))


def load_tokenizer(source: Source) -> Any:
    """Load a model's tokenizer."""
    with _clear_errors(source, "tokenizer"):
        return AutoTokenizer.from_pretrained(_folder_or_id(source), **_hub(source))


def load_model(source: Source) -> Any:
    """Load a model, in evaluation mode, onto its device."""
    options = {
        name: value
        for name in ("device_map", "quantization_config", "attn_implementation")
        if (value := getattr(source, name)) is not None
    }
    with _clear_errors(source, "model"):
        model = AutoModelForCausalLM.from_pretrained(
            _folder_or_id(source),
            dtype=_dtype(source),
            **_hub(source),
            **options,
            **source.model_kwargs,
        )
        placed = source.device_map is not None or source.quantization_config is not None
        model = (model if placed else model.to(default_device())).eval()
        use_grouped_attention(model)
        return model


def _dtype(source: Source) -> torch.dtype:
    return resolve_dtype(source.dtype, default_device())


def _hub(source: Source) -> dict[str, Any]:
    return {
        "revision": source.revision,
        "token": source.token,
        "trust_remote_code": source.trust_remote_code,
    }


def _folder_or_id(source: Source) -> str:
    if not source.model_id.lower().endswith(".gguf"):
        return source.model_id
    return str(converted_gguf(Path(source.model_id).expanduser(), _dtype(source)))


@contextmanager
def _clear_errors(source: Source, part: str) -> Generator[None]:
    """Turn the many errors of missing and broken files into one."""
    try:
        yield
    except UrialError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"Loading {source.model_id!r} needs a package that is not installed: {error}"
        ) from error
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), repr(error))
        raise ModelLoadError(
            f"Could not load the {part} of {source.model_id!r}: {reason} (It must be the hub id, "
            "local folder or .gguf file of a causal language model.)"
        ) from error


def converted_gguf(path: Path, dtype: torch.dtype) -> Path:
    """Convert a GGUF file into a folder that loads in seconds, once; return the folder.

    The folder lies in the cache folder, keyed by the file's place, size and time and by the dtype.

    Raises:
        ModelLoadError: There is no such file.
        MissingDependencyError: The ``gguf`` package is not installed.
    """
    if not path.is_file():
        raise ModelLoadError(f"There is no file {path}.")
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{dtype}"
    folder = cache_folder() / "models" / f"{path.stem}-{sha256(key.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    if find_spec("gguf") is None:
        raise MissingDependencyError(
            "Reading a GGUF file needs the gguf package: pip install 'urial-chat[gguf]'"
        )
    logger.info("Converting %s for transformers, once; this takes about a minute.", path)
    location = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**location)
    model = AutoModelForCausalLM.from_pretrained(**location, dtype=dtype)
    # The weights are plain numbers by now; transformers would refuse to save them as GGUF.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(dir=folder.parent))
    try:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        if not folder.is_dir():  # another process may have been faster
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
