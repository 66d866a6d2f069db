"""Damaged GGUF files are refused before an engine maps them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from urial_core.backends.gguf_file import check_gguf
from urial_core.errors import ModelLoadError


def string(text: str) -> bytes:
    """Return a string as the format writes it."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf(**changes: int) -> bytes:
    """Return a small file with one value of each kind and one tensor."""
    numbers = {"version": 3, "kind": 4, "dimensions": 2, "offset": 0, "item": 8, **changes}
    values = [
        string("general.alignment") + struct.pack("<II", 4, 64),
        string("general.name") + struct.pack("<I", 8) + string("tiny"),
        string("a.number") + struct.pack("<II", numbers["kind"], 7),
        string("tokens") + struct.pack("<IIQ", 9, numbers["item"], 2) + string("a") + string("b"),
        string("scores") + struct.pack("<IIQff", 9, 6, 2, 0.5, 1.5),
    ]
    shape = struct.pack("<IQQ", numbers["dimensions"], 32, 4)
    tensor = string("weight") + shape + struct.pack("<IQ", 8, numbers["offset"])
    header = b"GGUF" + struct.pack("<IQQ", numbers["version"], 1, len(values))
    header += b"".join(values) + tensor
    return header + bytes(-len(header) % 64) + bytes(4 * 34)


def test_a_whole_file_passes(tmp_path: Path) -> None:
    """It is whole to the byte."""
    (tmp_path / "m.gguf").write_bytes(gguf())
    check_gguf(tmp_path / "m.gguf")


def test_a_cut_file_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    """The error names the file, and says that it was cut."""
    path, whole = tmp_path / "m.gguf", gguf()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelLoadError, match=r"m\.gguf"):
            check_gguf(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "version is 99"),
        ({"kind": 77}, "unknown type 77"),
        ({"item": 13}, "unknown type 13"),
        ({"dimensions": 4000}, "4000 dimensions"),
        ({"offset": 1 << 40}, "tensors need"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    """The error says what is wrong with it."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(**changes))
    with pytest.raises(ModelLoadError, match=message):
        check_gguf(path)


def test_sizes_are_those_of_the_format() -> None:
    """They agree with the ``gguf`` package."""
    constants = pytest.importorskip("gguf").constants
    from urial_core.backends.gguf_file import _TENSORS

    sizes = {int(kind): size for kind, size in constants.GGML_QUANT_SIZES.items()}
    assert {kind: sizes[kind] for kind in _TENSORS} == _TENSORS


@pytest.mark.model
def test_the_demo_model_passes() -> None:
    """A real file's header is read to its end."""
    pytest.importorskip("urial_core.demo")
    from urial_core.demo import demo_model_file

    check_gguf(demo_model_file())
