"""Read and write the text files of an analysis, with errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from urial_core.errors import AnalysisError
from urial_core.utf8 import DATA_SUFFIXES, decode_utf8

__all__ = ["check_folder", "read_lines", "read_text", "write_text"]


_OTHER_SUFFIXES = (*DATA_SUFFIXES, ".toml", ".xlsx")
"""Suffixes of other formats, whose lines are neither text nor JSONL."""


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text.

    Raises:
        AnalysisError: The file cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise AnalysisError(f"Cannot read {path}: {getattr(error, 'strerror', error)}.") from error
    try:
        return decode_utf8(data)
    except ValueError as error:
        raise AnalysisError(f"{path} is not UTF-8 text: {error}.") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file that are not blank, with their numbers from 1.

    Raises:
        AnalysisError: The file is named as one of another format, such as ``*.json``, cannot be
            read, or is not UTF-8.
    """
    if path.suffix.lower() in _OTHER_SUFFIXES:
        raise AnalysisError(
            f"{path} is not a JSONL or text file: write it as JSONL, an object on each line, and "
            "name it *.jsonl. To convert a JSON array: jq -c '.[]'."
        )
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line


def check_folder(path: Path) -> None:
    """Check, and change nothing, that files can be written into a folder, which may not exist.

    Raises:
        AnalysisError: They cannot.
    """
    try:
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
        possible = nearest.is_dir() and os.access(nearest, os.W_OK)
    except (OSError, ValueError) as error:  # too long for a name, say
        raise AnalysisError(f"Cannot write into {path}: {error}.") from error
    if not possible:
        reason = "may not be written" if nearest.is_dir() else "is no folder"
        raise AnalysisError(f"Cannot write into {path}: {nearest} {reason}.")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all. Half a character (a lone surrogate) becomes "?".

    Raises:
        AnalysisError: The file cannot be written.
    """
    try:
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(text.encode(errors="replace"))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise AnalysisError(f"Cannot write {path}: {getattr(error, 'strerror', error)}.") from error
