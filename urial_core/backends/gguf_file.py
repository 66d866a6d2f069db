"""Read a GGUF file's header: check it before an engine maps the file, and look up its settings.

llama.cpp ends the process at some damaged files. The header has keys and values, and where each
tensor lies in the file.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from urial_core.errors import ModelLoadError

__all__ = ["architecture_settings", "check_gguf"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_NUMBERS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""The types of numbers and booleans, in ``struct``'s terms."""
_MAX_DIMENSIONS = 4
_TENSORS = {
    **dict.fromkeys((24,), (1, 1)),
    **dict.fromkeys((1, 25, 30), (1, 2)),
    **dict.fromkeys((0, 26), (1, 4)),
    **dict.fromkeys((27, 28), (1, 8)),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    20: (32, 18),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
}
"""Elements and bytes of a block by a tensor's type. Of rarer types, only the start is checked."""


def check_gguf(path: str | Path) -> None:
    """Raise with the reason if a file is no GGUF file, or is cut or damaged.

    Raises:
        ModelLoadError: It cannot be read, or cannot be a model.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(len(_MAGIC))
            if start != _MAGIC:
                raise ModelLoadError(f"{path} is not a GGUF file: it begins with {start!r}.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _Header(data).check()
    except OSError as error:
        raise ModelLoadError(f"Cannot read the model {path}: {error.strerror}.") from error
    except (ValueError, struct.error) as error:
        raise ModelLoadError(
            f"{path} is damaged: {error}. It may have been cut in a download: get it again."
        ) from error


def architecture_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings of a file's architecture, such as "context_length", as far as readable.

    They are numbers, and lists of numbers where layers differ. Nothing is raised: ``check_gguf``
    says what is wrong with a file.
    """
    settings = dict[str, Any]()
    try:
        with (
            Path(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            for name, value in _Header(data).entries():
                if name.startswith("tokenizer."):  # long, and after the architecture's
                    break
                settings[name.partition(".")[2]] = value
    except (OSError, ValueError, struct.error):
        pass
    return settings


class _Header:
    """Reads a file's header from its start to its end."""

    def __init__(self, data: mmap.mmap) -> None:
        """Read how many tensors and values there are.

        Raises:
            ValueError: It is not of a known version, or ends here.
        """
        self._data = data
        self._at = len(_MAGIC)
        version, self._tensors, self._values = self._unpack("<IQQ")
        if version not in _VERSIONS:
            raise ValueError(f"its version is {version}")

    def check(self) -> None:
        """Raise a ValueError or struct.error where the header or a tensor leaves the file."""
        alignment = 32
        for name, value in self.entries():
            if name == "general.alignment" and isinstance(value, int):
                alignment = value
        if alignment < 1:
            raise ValueError(f"its alignment is {alignment}")
        ends = [self._tensor_end() for _ in range(self._tensors)]
        start = -(-self._at // alignment) * alignment
        needed = start + max(ends, default=0)
        if needed > len(self._data):
            raise ValueError(f"its tensors need {needed} bytes, and it has {len(self._data)}")

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield each key with its number, its list of numbers, or None for text."""
        for _ in range(self._values):
            name = self._string().decode("utf-8", "replace")
            [kind] = self._unpack("<I")
            yield name, self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return self._unpack(f"<{_NUMBERS[kind]}")[0]
        if kind == _STRING:
            self._string()
        elif kind == _ARRAY:
            item, count = self._unpack("<IQ")
            if item in _NUMBERS:
                return list(self._unpack(f"<{count}{_NUMBERS[item]}"))
            if item != _STRING:
                raise ValueError(f"a list's items are of the unknown type {item}")
            for _ in range(count):
                self._string()
        else:
            raise ValueError(f"a value is of the unknown type {kind}")
        return None

    def _tensor_end(self) -> int:
        """Skip a tensor's entry; return the end of its data, from the start of all data."""
        name = self._string().decode("utf-8", "replace")
        [dimensions] = self._unpack("<I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"the tensor {name!r} has {dimensions} dimensions")
        shape = self._unpack(f"<{dimensions}Q")
        kind, offset = self._unpack("<IQ")
        elements, size = _TENSORS.get(kind, (1, 0))
        return int(offset + prod(shape) // elements * size)

    def _string(self) -> bytes:
        [length] = self._unpack("<Q")
        at = self._at
        self._skip(length)
        return self._data[at : self._at]

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        at = self._at
        self._skip(struct.calcsize(layout))
        return struct.unpack_from(layout, self._data, at)

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise ValueError(f"it ends within its header, after {len(self._data)} bytes")
