"""Read a GGUF file's header: check it before an engine maps the file, and look up its settings.

llama.cpp ends the process at some damaged files and at some settings; transformers fills in at
random what a file lacks. The header has keys and values, and where each tensor lies in the file.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from math import inf, prod
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

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
_F32 = 0
_NO_WEIGHTS = {9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16", 27: "I64", 28: "F64"}
"""Types of which llama.cpp multiplies no weights."""
_NO_MODELS = {
    b"adapter": "an adapter",
    b"mmproj": "a projector",
    b"imatrix": "an importance matrix",
}
"""What a file may hold besides a model, by its ``general.type``."""
_ENCODERS = (b"gemma-embedding", b"llama-embed")
"""Architectures that are encoders without a setting that says so."""
_ENCODER_POOLING = (1, 2)
"""Kinds of pooling (of all tokens, the first token) that only encoders have."""
_BYTE = 6
"""The type of a token that stands for one byte."""
_MAPPED_AT = 32
"""llama.cpp maps tensors that begin at a multiple of so many bytes."""


def check_gguf(path: str | Path, *, for_llama_cpp: bool = False) -> None:
    """Raise with the reason if a file is cut, damaged, or not one of a causal language model.

    Only what holds for every architecture is checked: the rest is what the engines report.

    Args:
        path: The file, or the first one of a model that was split.
        for_llama_cpp: Whether to refuse also files at which only llama.cpp ends the process.

    Raises:
        ModelLoadError: It cannot be read, or cannot be a model.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(len(_MAGIC))
            if start != _MAGIC:
                raise ModelLoadError(f"{path} is not a GGUF file: it begins with {start!r}.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                reason = next(_Header(data).faults(Path(path), for_llama_cpp=for_llama_cpp), None)
    except OSError as error:
        raise ModelLoadError(f"Cannot read the model {path}: {error.strerror}.") from error
    except (ValueError, struct.error) as error:
        raise ModelLoadError(
            f"{path} is damaged: {error}. It may have been cut in a download: get it again."
        ) from error
    if reason is not None:
        raise ModelLoadError(
            f"{path} cannot be run: {reason}. Use another file of the model, or convert it again."
        )


def architecture_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings of a file's architecture, such as "context_length", as far as readable.

    They are numbers, lists of numbers where layers differ, and text as bytes. Nothing is raised:
    ``check_gguf`` says what is wrong with a file.
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


class _Tensor(NamedTuple):
    """Where a tensor lies, from the start of all data, and of which type and shape it is."""

    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def end(self) -> int:
        elements, size = _TENSORS.get(self.kind, (1, 0))
        return self.offset + prod(self.shape) // elements * size


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

    def faults(self, path: Path, *, for_llama_cpp: bool) -> Iterator[str]:
        """Yield reasons why the file at a path cannot be run; see ``check_gguf``.

        Each is looked for on the assumption that there is none before it.

        Raises:
            ValueError: The header or a tensor leaves the file, or tensors overlap.
            struct.error: Likewise.
        """
        settings = dict(self.entries())
        alignment = settings.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment % 8:
            raise ValueError(f"its alignment is {shortened(alignment)}")
        tensors, end = dict[str, _Tensor](), 0
        for _ in range(self._tensors):
            name, tensor = self._tensor()
            if end not in (-1, tensor.offset):
                raise ValueError(f"its tensor {name!r} begins at {tensor.offset}, not at {end}")
            tensors[name] = tensor
            end = -(-tensor.end // alignment) * alignment if tensor.kind in _TENSORS else -1
        start = -(-self._at // alignment) * alignment
        needed = start + max((tensor.end for tensor in tensors.values()), default=0)
        if needed > len(self._data):
            raise ValueError(f"its tensors need {needed} bytes, and it has {len(self._data)}")
        yield from _missing_parts(settings, path)
        yield from _faults(settings, tensors)
        if for_llama_cpp:
            yield from _faults_for_llama_cpp(settings, tensors, start)

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield each key with its number, its text as bytes, or a list of such."""
        for _ in range(self._values):
            name = self._string().decode("utf-8", "replace")
            [kind] = self._unpack("<I")
            yield name, self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind in _NUMBERS:
            return self._unpack(f"<{_NUMBERS[kind]}")[0]
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            item, count = self._unpack("<IQ")
            if item in _NUMBERS:
                return list(self._unpack(f"<{count}{_NUMBERS[item]}"))
            if item != _STRING:
                raise ValueError(f"a list's items are of the unknown type {item}")
            return [self._string() for _ in range(count)]
        raise ValueError(f"a value is of the unknown type {kind}")

    def _tensor(self) -> tuple[str, _Tensor]:
        name = self._string().decode("utf-8", "replace")
        [dimensions] = self._unpack("<I")
        if dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"the tensor {name!r} has {dimensions} dimensions")
        shape = self._unpack(f"<{dimensions}Q")
        tensor = _Tensor(shape, *self._unpack("<IQ"))
        elements, _ = _TENSORS.get(tensor.kind, (1, 0))
        if prod(shape[:1]) % elements:
            raise ValueError(f"the tensor {name!r} has rows of {shape[0]}, not of {elements}s")
        return name, tensor

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


def _faults(settings: Mapping[str, Any], tensors: Mapping[str, _Tensor]) -> Iterator[str]:
    """Yield which settings no causal language model has."""
    kind, architecture = (settings.get(f"general.{name}") for name in ("type", "architecture"))
    if isinstance(kind, bytes) and kind in _NO_MODELS:
        yield f"it holds {_NO_MODELS[kind]}, not a model"
    if not isinstance(architecture, bytes):
        yield f"its general.architecture is {_shown(architecture)}"
        return
    prefix = architecture.decode("utf-8", "replace")
    for name in ("context_length", "embedding_length", "block_count"):
        value = settings.get(f"{prefix}.{name}")
        if type(value) is not int or not 1 <= value < 1 << 31:
            yield f"its {prefix}.{name} is {_shown(value)}"
    yield from _block_faults(settings[f"{prefix}.block_count"], tensors, _parts(settings))
    if (
        architecture in _ENCODERS
        or settings.get(f"{prefix}.attention.causal") is False
        or settings.get(f"{prefix}.pooling_type") in _ENCODER_POOLING
        or any(name.startswith("enc.") for name in tensors)
    ):
        yield f"it is an encoder ({prefix}), which does not continue text"
    for name, value in settings.items():
        least, most = (0, 1) if name.endswith("_epsilon") else (-inf, inf)
        if isinstance(value, float) and not least <= value <= most:  # or it is no number
            yield f"its {name} is {value}"
    tokens = settings.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], bytes):
        yield f"its tokenizer.ggml.tokens is {_shown(tokens)}: it must be a list of texts"


def _block_faults(count: int, tensors: Mapping[str, _Tensor], parts: int) -> Iterator[str]:
    """Yield where the number of a model's blocks (layers) does not fit its tensors."""
    numbers = (int(found[1]) for name in tensors if (found := re.match(r"blk\.(\d+)\.", name)))
    if (last := max(numbers, default=0)) >= count:
        yield f"its block_count is {count}, and it has a tensor of block {last}"
    if count > len(tensors) and parts == 1:
        yield f"its block_count is {count}, and it has {len(tensors)} tensors"


def _shown(value: Any) -> str:
    return "missing" if value is None else shortened(value)


def _parts(settings: Mapping[str, Any]) -> int:
    """Return into how many files the model was split."""
    count = settings.get("split.count")
    return count if isinstance(count, int) and count > 1 else 1


def _missing_parts(settings: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Yield which of the files of a model that was split are not beside its first."""
    if (count := _parts(settings)) == 1:
        return
    ending = f"-00001-of-{count:05}.gguf"
    if not path.name.endswith(ending):
        yield f"it is one of {count} parts: use the first, whose name must end in {ending}"
    for number in range(2, count + 1):
        part = path.with_name(f"{path.name.removesuffix(ending)}-{number:05}-of-{count:05}.gguf")
        if not part.is_file():
            yield f"its part {part.name} is missing"


def _faults_for_llama_cpp(
    settings: Mapping[str, Any], tensors: Mapping[str, _Tensor], start: int
) -> Iterator[str]:
    """Yield where llama.cpp would end the process (abort)."""
    texts = [token for token in settings["tokenizer.ggml.tokens"] if token]
    if double := len(texts) - len(set(texts)):  # its issue 25739
        yield f"its tokenizer.ggml.tokens repeats {double} tokens, at which llama.cpp ends"
    types, model = (settings.get(f"tokenizer.ggml.{name}") for name in ("token_type", "model"))
    if model == b"bert" and isinstance(types, list) and _BYTE in types:
        yield "its tokenizer.ggml.model is bert, which has no tokens of single bytes"
    if start % _MAPPED_AT:
        yield f"its tensors begin at byte {start}, which is no multiple of {_MAPPED_AT}"
    for name, tensor in tensors.items():
        if name.endswith(("norm.weight", ".bias")) and len(tensor.shape) == 1:
            if tensor.kind != _F32:
                yield f"its tensor {name!r} is of type {tensor.kind}, not F32"
        elif name.endswith(".weight") and tensor.kind in _NO_WEIGHTS:
            yield f"its tensor {name!r} is of type {_NO_WEIGHTS[tensor.kind]}"
