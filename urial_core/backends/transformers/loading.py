"""Load a model and its tokenizer from a hub id, a local folder or a GGUF file."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from urial_core.backends.gguf_file import check_gguf
from urial_core.backends.temporary_folder import TemporaryFolder
from urial_core.backends.transformers.grouped_attention import use_grouped_attention
from urial_core.backends.transformers.packed_linear import bfloat16_is_fast, pack_linear_layers
from urial_core.backends.transformers.source import Source
from urial_core.cache_folder import cache_folder
from urial_core.errors import MissingDependencyError, ModelLoadError, ParameterError, UrialError

__all__ = [
    "converted_gguf",
    "default_device",
    "load_config",
    "load_model",
    "load_tokenizer",
    "resolve_dtype",
]

logger = logging.getLogger(__name__)

_SIZES = "sizes.json"
"""The file of a conversion that has the sizes of its others."""


def default_device() -> torch.device:
    """Return the best device of this machine."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype that "auto" or a name stands for.

    "auto" is bfloat16 where the device computes in it natively, which halves the memory read for
    each token, and on a CPU is about as fast by a trial; else float16 on a GPU and float32 on a
    CPU.

    Raises:
        ParameterError: The name is not one of a floating-point dtype.
    """
    if dtype == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
        native = device.type == "mps" or (_cpu_computes_bfloat16() and bfloat16_is_fast())
        return torch.bfloat16 if native else torch.float32
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ParameterError(f"dtype is {dtype!r}: use 'auto', 'float32', 'bfloat16' or 'float16'.")
    return found


def _cpu_computes_bfloat16() -> bool:
    # torch offers these tests under private names only, and not on every platform.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)


def load_config(source: Source) -> Any:
    """Load a model's configuration."""
    return _load(AutoConfig.from_pretrained, source, "configuration")


def load_tokenizer(source: Source) -> Any:
    """Load a model's tokenizer."""
    return _load(AutoTokenizer.from_pretrained, source, "tokenizer")


def load_model(source: Source) -> Any:
    """Load a model, in evaluation mode, onto its device."""

    def load(folder_or_id: str, **options: Any) -> Any:
        for name in ("device_map", "quantization_config", "attn_implementation"):
            if (value := getattr(source, name)) is not None:
                options[name] = value
        device = default_device()
        dtype = resolve_dtype(source.dtype, device)
        model = AutoModelForCausalLM.from_pretrained(
            folder_or_id, dtype=dtype, **options, **source.model_kwargs
        )
        placed = source.device_map is not None or source.quantization_config is not None
        model = (model if placed else model.to(device)).eval()
        use_grouped_attention(model)
        pack_linear_layers(model)
        return model

    return _load(load, source, "model")


def _load(load: Callable[..., Any], source: Source, part: str) -> Any:
    """Load a part of a model; raise one error for the many of missing and broken files."""
    options = {
        "revision": source.revision,
        "token": source.token,
        "trust_remote_code": source.trust_remote_code,
    }
    try:
        if not source.model_id.lower().endswith(".gguf"):
            return load(_folder_or_id(source.model_id), **options)
        return _load_gguf(load, source, options)
    except UrialError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"Loading {source.model_id!r} needs a package that is not installed: {error}"
        ) from error
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), repr(error))
        if source.token:
            reason = reason.replace(source.token, "***")
        raise ModelLoadError(
            f"Could not load the {part} of {source.model_id!r}: {reason} (It must be the hub id, "
            "local folder or .gguf file of a causal language model.)"
        ) from error


def _folder_or_id(model_id: str) -> str:
    """Return a model's folder or hub id; a path, which no hub id looks like, must exist."""
    path = Path(model_id)
    if not model_id.startswith((".", "~")) and not path.is_absolute():
        return model_id
    path = path.expanduser()
    if not path.exists():
        raise ModelLoadError(f"There is no folder {path}.")
    return str(path)


def _load_gguf(load: Callable[..., Any], source: Source, options: Mapping[str, Any]) -> Any:
    """Load a part of a GGUF file's conversion; make a conversion that is damaged again."""
    path = Path(source.model_id).expanduser()
    dtype = resolve_dtype(source.dtype, default_device())
    existed = _is_whole(_folder_of(path, dtype))
    folder = converted_gguf(path, dtype)
    try:
        return load(str(folder), **options)
    except (ImportError, MemoryError, UrialError):
        raise
    except Exception as error:
        if not existed or isinstance(error, torch.OutOfMemoryError):
            raise
        logger.warning("The conversion %s cannot be loaded (%s): making it again.", folder, error)
        _remove(folder)
        return load(str(converted_gguf(path, dtype)), **options)


def _folder_of(path: Path, dtype: torch.dtype) -> Path:
    """Return the folder of a GGUF file's conversion, which may not exist."""
    if not path.is_file():
        raise ModelLoadError(f"There is no file {path}.")
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{dtype}"
    return cache_folder() / "models" / f"{path.stem}-{sha256(key.encode()).hexdigest()[:12]}"


def _is_whole(folder: Path) -> bool:
    """Return whether a conversion has all of its files, in the sizes in which they were written."""
    try:
        sizes = json.loads((folder / _SIZES).read_bytes())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (AttributeError, OSError, ValueError):
        return False


def converted_gguf(path: Path, dtype: torch.dtype) -> Path:
    """Convert a GGUF file into a folder that loads in seconds, once; return the folder.

    The folder is in the cache folder, named by the file's path, size and time and by the dtype. One
    whose files are cut or missing is made again.

    Raises:
        ModelLoadError: There is no such file, or it is damaged or contradicts itself.
        MissingDependencyError: The ``gguf`` package is not installed.
    """
    folder = _folder_of(path, dtype)
    if _is_whole(folder):
        return folder
    check_gguf(path)
    MissingDependencyError.check("Reading a GGUF file", "gguf", "gguf")
    logger.info("Converting %s for transformers, once; this takes about a minute.", path)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model, report = AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # for the report to name them
    )
    _check_report(path, report)
    # The weights are dequantised by now; transformers would refuse to save them as GGUF.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = TemporaryFolder(folder.parent)
    try:
        model.save_pretrained(unfinished.path)
        tokenizer.save_pretrained(unfinished.path)
        sizes = {file.name: file.stat().st_size for file in unfinished.path.iterdir()}
        (unfinished.path / _SIZES).write_text(json.dumps(sizes), encoding="utf-8")
        if not _is_whole(folder):  # another process may have been faster
            _remove(folder)
            unfinished.path.rename(folder)
    finally:
        unfinished.remove()
    return folder


def _check_report(path: Path, report: Mapping[str, Any]) -> None:
    """Raise if transformers filled in at random what a GGUF file lacks."""
    differing = [f"{name} is missing" for name in sorted(report["missing_keys"])]
    differing += [
        f"{name} has the shape {tuple(shape)}, not {tuple(expected)}"
        for name, shape, expected in sorted(report["mismatched_keys"])
    ]
    if differing:
        raise ModelLoadError(
            f"The tensors of {path} do not fit its settings ({len(differing)} differ): "
            f"{differing[0]}. Use another file of the model, whole rather than split, or convert "
            "it again."
        )


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir():
        folder.unlink(missing_ok=True)
