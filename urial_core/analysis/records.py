"""Records: the rows of an analysis, appended to a JSONL file, and resumed from it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from urial_core.analysis.text_files import read_text, write_text
from urial_core.errors import AnalysisError, shown

__all__ = ["RecordFile"]

Row = TypeVar("Row")


class RecordFile(Generic[Row]):
    """Rows of one type in a JSONL file: those of earlier runs, and new ones.

    A row is written when it is appended, so a kill loses at most the row that is being written;
    what it left of that row's line is removed when the file is opened again. A context manager;
    only one process may have the file open (this is checked, except on Windows).

    The settings that the rows were made with are in a file beside it, ``NAME.settings.json``.
    Opening the file with another value for one of them is an error. Settings may be added: rows of
    another method, say, do not change those that are there.

    Attributes:
        path: The file.
        rows: All rows, oldest first.
    """

    def __init__(self, path: Path, row_type: type[Row], settings: Mapping[str, Any]) -> None:
        """Open the file, or create it with its folder.

        Args:
            path: The file, ``*.jsonl``.
            row_type: The rows' type: a dataclass or a pydantic model.
            settings: What decides the rows' content, by name; values that JSON can hold. No
                secrets.

        Raises:
            AnalysisError: Its rows were made with other settings, a row is damaged other than at
                the end, another process writes to it, or it cannot be read or written.
        """
        self.path = path
        self.rows = list[Row]()
        self._adapter = TypeAdapter(row_type)
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise AnalysisError(f"Cannot write {path}: {error.strerror}.") from error
        try:
            _lock_or_fail(self._file, path)
            self._read()
            self._check_settings(settings)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Row) -> None:
        """Add a row and write it to the file. Threads may append at the same time."""
        line = self._adapter.dump_json(row) + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            self.rows.append(row)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings_path(self) -> Path:
        """The file with the settings that the rows were made with."""
        return self.path.with_suffix(".settings.json")

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0  # bytes of the lines that are whole
        for number, line in enumerate(self._file, 1):
            try:
                self.rows.append(self._adapter.validate_json(line))
            except ValidationError as error:
                if not line.endswith(b"\n"):  # a kill cut it
                    break
                raise AnalysisError(
                    f"{self.path}, line {number} is damaged: {error.errors()[0]['msg']}. Remove "
                    "the line to have its answer made again."
                ) from error
            whole += len(line)
            if not line.endswith(b"\n"):
                self._file.write(b"\n")
                self._file.flush()
                return
        self._file.truncate(whole)

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        now: dict[str, Any] = json.loads(json.dumps(settings, default=str))
        before = self._settings_before()
        if self.rows and before is None:
            raise AnalysisError(
                f"{self.path} has rows, but {self.settings_path.name}, which says how they were "
                "made, is missing. Choose another folder for the output."
            )
        before = before or {}
        for name in before.keys() & now.keys() if self.rows else ():
            if before[name] != now[name]:
                raise AnalysisError(
                    f"{self.path} has rows that were made with another value of {name!r}: "
                    f"{_difference(before[name], now[name])}. Choose another folder for the "
                    "output, or the settings of before."
                )
        known = {**before, **now} if self.rows else now
        if known != before:
            text = json.dumps(known, indent=2, ensure_ascii=False)
            write_text(self.settings_path, f"{text}\n")

    def _settings_before(self) -> dict[str, Any] | None:
        if not self.settings_path.exists():
            return None
        try:
            found: object = json.loads(read_text(self.settings_path))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise AnalysisError(f"{self.settings_path} is damaged: it is no JSON object.")
        return found


def _difference(before: object, now: object) -> str:
    """Name what differs, within objects the keys that do."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return ", ".join(f"{key} {_difference(before.get(key), now.get(key))}" for key in keys)
    return f"it was {shown(before)}, and is now {shown(now)}"


def _lock_or_fail(file: BinaryIO, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AnalysisError(f"Another process is writing to {path}: wait until it ends.") from error
    except OSError:  # a file system without locks
        return
