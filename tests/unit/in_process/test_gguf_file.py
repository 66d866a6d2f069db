"""GGUF files that are damaged or no causal language model are refused before they are mapped."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core.backends.gguf_file import check_gguf
from urial_core.errors import ModelLoadError

SETTINGS: Mapping[str, Any] = {
    "general.architecture": "tiny",
    "general.alignment": 64,
    "tiny.context_length": 64,
    "tiny.embedding_length": 32,
    "tiny.block_count": 1,
    "tiny.epsilon": 1e-5,
    "tiny.attention.layer_norm_rms_epsilon": 1e-5,
    "tiny.attention.head_count": [2, 2],
    "tiny.attention.causal": True,
    "tokenizer.ggml.tokens": ["a", "b", "", ""],
    "tokenizer.ggml.scores": [0.5, 1.5, 0.0, 0.0],
}
F32, F16, Q8_0, Q8_1 = 0, 1, 8, 9
Tensor = tuple[str, tuple[int, ...], int, bytes]
NORM: Tensor = ("blk.0.attn_norm.weight", (16,), F32, bytes(64))
WEIGHT: Tensor = ("blk.0.ffn_up.weight", (32, 4), Q8_0, bytes(4 * 34))


def string(text: str) -> bytes:
    """Return a string as the format writes it."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(item: Any) -> tuple[int, bytes]:
    """Return the type and the bytes of a value."""
    match item:
        case bool():
            return 7, struct.pack("<?", item)
        case int():
            return (
                (4, struct.pack("<I", item))
                if 0 <= item < 1 << 32
                else (11, struct.pack("<q", item))
            )
        case float():
            return 6, struct.pack("<f", item)
        case str():
            return 8, string(item)
    items = [value(inner) for inner in item]
    kind = items[0][0] if items else 4
    return 9, struct.pack("<IQ", kind, len(items)) + b"".join(written for _, written in items)


def gguf(
    settings: Mapping[str, Any] | None = None,
    tensors: tuple[Tensor, ...] = (NORM, WEIGHT),
    **changes: int,
) -> bytes:
    """Return a small file, with a value of each kind, whose tensors are padded to 64 bytes.

    Args:
        settings: Values instead of ``SETTINGS``; without those that are None.
        tensors: Their names, shapes, types and bytes.
        changes: Other numbers for parts of the format: "version", "kind" (of the first value),
            "dimensions" and "offset" (of the first tensor).
    """
    values = {k: v for k, v in {**SETTINGS, **(settings or {})}.items() if v is not None}
    header = b"GGUF" + struct.pack("<IQQ", changes.get("version", 3), len(tensors), len(values))
    for name, item in values.items():
        kind, written = value(item)
        header += string(name) + struct.pack("<I", changes.pop("kind", kind)) + written
    data = b""
    for name, shape, kind, content in tensors:
        header += string(name) + struct.pack("<I", changes.pop("dimensions", len(shape)))
        header += struct.pack(f"<{len(shape)}Q", *shape)
        header += struct.pack("<IQ", kind, changes.pop("offset", len(data)))
        data += content + bytes(-len(content) % 64)
    header += bytes(-len(header) % 64)
    last = len(tensors[-1][3]) if tensors else 0
    return header + data[: len(data) - (-last % 64)]


def refusal(path: Path, *, for_llama_cpp: bool = False) -> str:
    """Return the error that refuses a file, or nothing."""
    try:
        check_gguf(path, for_llama_cpp=for_llama_cpp)
    except ModelLoadError as error:
        return str(error)
    return ""


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
        ({"dimensions": 4000}, "4000 dimensions"),
        ({"offset": 1 << 40}, "begins at 1099511627776, not at 0"),
        ({"tensors": (("x.weight", (32, 1 << 40), F32, b""),)}, "tensors need"),
        ({"tensors": (("x.weight", (31, 4), Q8_0, bytes(200)),)}, "rows of 31, not of 32s"),
        ({"settings": {"general.alignment": 1}}, "alignment is 1"),
        ({"settings": {"general.alignment": "64"}}, "alignment is b'64'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """The error says what is wrong with it."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(**changes))
    with pytest.raises(ModelLoadError, match=rf"damaged: .*{message}"):
        check_gguf(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"general.type": "adapter"}, "holds an adapter"),
        ({"general.type": "mmproj"}, "holds a projector"),
        ({"general.architecture": None}, "architecture is missing"),
        ({"general.architecture": 7}, "architecture is 7"),
        ({"general.architecture": "other"}, r"other\.context_length is missing"),
        ({"tiny.context_length": 0}, r"tiny\.context_length is 0"),
        ({"tiny.context_length": 1 << 31}, "context_length is 2147483648"),
        ({"tiny.context_length": [64, 0]}, r"context_length is \[64, 0\]"),
        ({"tiny.embedding_length": "64"}, "embedding_length is b'64'"),
        ({"tiny.embedding_length": True}, "embedding_length is True"),
        ({"tiny.block_count": None}, "block_count is missing"),
        ({"tiny.block_count": -1}, "block_count is -1"),
        ({"tiny.block_count": 9999}, "block_count is 9999, and it has 2 tensors"),
        ({"tiny.epsilon": float("nan")}, "epsilon is nan"),
        ({"tiny.attention.layer_norm_rms_epsilon": -1.0}, "epsilon is -1.0"),
        ({"tiny.attention.causal": False}, r"encoder \(tiny\)"),
        ({"tiny.pooling_type": 1}, "encoder"),
        ({"tokenizer.ggml.tokens": None}, "tokens is missing"),
        ({"tokenizer.ggml.tokens": []}, r"tokens is \[\]"),
        ({"tokenizer.ggml.tokens": [1, 2]}, r"tokens is \[1, 2\]"),
        ({"split.count": 2}, "one of 2 parts"),
    ],
)
def test_unusable_settings_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    """The file is well-formed; the error has the setting's name and value."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(settings))
    with pytest.raises(ModelLoadError, match=rf"m\.gguf cannot be run: .*{message}"):
        check_gguf(path)


def test_a_block_beyond_their_number_is_refused(tmp_path: Path) -> None:
    """Engines would leave it out."""
    (tmp_path / "m.gguf").write_bytes(gguf(tensors=(NORM, ("blk.1.w", (8,), F32, bytes(32)))))
    with pytest.raises(ModelLoadError, match="block_count is 1, and it has a tensor of block 1"):
        check_gguf(tmp_path / "m.gguf")


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    """It does not continue a text."""
    (tmp_path / "m.gguf").write_bytes(gguf(tensors=(("enc.blk.0.w", (8,), F32, bytes(32)),)))
    with pytest.raises(ModelLoadError, match="encoder"):
        check_gguf(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"tokenizer.ggml.tokens": ["a", "b", "", "", "a"]}}, "repeats 1 tokens"),
        ({"settings": {"tokenizer.ggml.model": "bert", "tokenizer.ggml.token_type": [6]}}, "bert"),
        ({"tensors": ((NORM[0], (32,), F16, bytes(64)),)}, "type 1, not F32"),
        ({"tensors": ((WEIGHT[0], (32, 4), Q8_1, bytes(4 * 36)),)}, "type Q8_1"),
    ],
)
def test_what_only_llama_cpp_cannot_run(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """It would end the process; transformers reads the file, or raises."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(**changes))
    check_gguf(path)
    with pytest.raises(ModelLoadError, match=message):
        check_gguf(path, for_llama_cpp=True)


def test_llama_cpp_maps_tensors_at_a_multiple_of_32(tmp_path: Path) -> None:
    """An alignment of 8 is one of the format's."""
    path, errors = tmp_path / "m.gguf", list[str]()
    for size in range(0, 32, 8):
        path.write_bytes(gguf({"general.alignment": 8, "general.name": "x" * size}))
        assert not refusal(path)
        errors.append(refusal(path, for_llama_cpp=True))
    assert sum("no multiple of 32" in error for error in errors) == 3
    assert errors.count("") == 1


def test_the_parts_of_a_split_model_are_needed(tmp_path: Path) -> None:
    """The first part is given; it has all settings, and few tensors."""
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(gguf({"split.count": 2, "tiny.block_count": 9}))
    with pytest.raises(ModelLoadError, match=r"its part m-00002-of-00002\.gguf is missing"):
        check_gguf(first)
    (tmp_path / "m-00002-of-00002.gguf").touch()
    check_gguf(first)


@pytest.mark.needs("xllamacpp", "openai", "llguidance")
@pytest.mark.parametrize("length", [0, 1 << 31, [64, 0]])
def test_llama_cpp_checks_a_file_before_it_reads_the_sizes(tmp_path: Path, length: object) -> None:
    """Defaults are derived from the file's settings."""
    from urial_core.backends.llama_cpp import LlamaCppModel

    (tmp_path / "m.gguf").write_bytes(gguf({"tiny.context_length": length}))
    with pytest.raises(ModelLoadError, match="context_length"):
        LlamaCppModel(tmp_path / "m.gguf").load()


anything = st.one_of(
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(width=32),
    st.text(max_size=4),
    st.lists(st.integers(0, 9), max_size=4),
    st.lists(st.text(max_size=2), max_size=4),
)
keys = st.sampled_from(
    [*SETTINGS, "general.type", "split.count", "tiny.pooling_type", "tokenizer.ggml.token_type"]
)


@given(st.dictionaries(keys, st.none() | anything, max_size=4))
def test_any_settings_pass_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]
) -> None:
    """No other error is raised."""
    path = tmp_path_factory.getbasetemp() / "drawn.gguf"
    path.write_bytes(gguf(settings))
    assert len(refusal(path)) <= len(refusal(path, for_llama_cpp=True)) < 1000


@given(st.dictionaries(st.integers(0, len(gguf()) - 1), st.integers(0, 255), max_size=4))
def test_any_bytes_pass_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[int, int]
) -> None:
    """No other error is raised."""
    file = bytearray(gguf())
    for at, byte in changes.items():
        file[at] = byte
    path = tmp_path_factory.getbasetemp() / "drawn.gguf"
    path.write_bytes(file)
    assert len(refusal(path)) <= len(refusal(path, for_llama_cpp=True)) < 1000


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
