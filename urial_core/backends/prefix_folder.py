"""The folder of prompt prefixes' keys and values, with which the next process starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from urial_core.backends.temporary_folder import TemporaryFolder
from urial_core.cache_folder import cache_folder

__all__ = ["MAX_BYTES", "prefix_folder", "store_file"]

MAX_BYTES = 1 << 30
"""Most bytes of all files together; the least recently used are removed first."""


def prefix_folder() -> Path:
    """Return the folder, which may not exist."""
    return cache_folder() / "prefixes"


def store_file(file: Path, write: Callable[[Path], object], max_bytes: int = MAX_BYTES) -> None:
    """Write a file for this user as a whole or not at all, then remove old ones of its folder.

    Args:
        file: The file.
        write: Writes it to the path that it is given.
        max_bytes: Most bytes of all files in the folder.

    Raises:
        OSError: It cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = TemporaryFolder(file.parent)
    try:
        new = unfinished.path / file.name
        write(new)
        new.chmod(0o600)  # prompts can be private
        new.replace(file)
    finally:
        unfinished.remove()
    found = [(other.stat(), other) for other in file.parent.iterdir() if other.is_file()]
    excess = sum(status.st_size for status, _ in found) - max_bytes
    for status, other in sorted(found, key=lambda entry: entry[0].st_mtime_ns):
        if excess <= 0:
            return
        with suppress(OSError):  # in use on Windows, or another process was faster
            other.unlink()
        excess -= status.st_size
