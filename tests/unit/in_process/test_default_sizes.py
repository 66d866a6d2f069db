"""Default slots and context window of a GGUF file: what its model and the memory allow."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from urial_core.backends.llama_cpp.default_sizes import (
    LEAST_WINDOW,
    MOST_WINDOW,
    available_memory,
    default_slots,
    default_window,
)

PER_TOKEN = 2 * 10 * 2 * (8 + 8)
"""Bytes of a token in the KV cache: two each, for ten layers with two heads of keys and values."""


def text(value: str) -> bytes:
    """Write a text as GGUF does."""
    return struct.pack("<Q", len(value)) + value.encode()


@pytest.fixture
def write(tmp_path: Path) -> Path:
    """The file to write."""
    return tmp_path / "model.gguf"


def gguf(path: Path, trained: int) -> str:
    """Write the header of a model that was trained for a window; return the path."""
    sizes = {
        "context_length": trained,
        "embedding_length": 32,
        "block_count": 10,
        "attention.head_count": 4,
    }
    heads = struct.pack("<IIQ", 9, 4, 10) + struct.pack("<10I", *[2] * 10)  # one for each layer
    settings = [
        text("general.architecture") + struct.pack("<I", 8) + text("tiny"),
        *(text(f"tiny.{name}") + struct.pack("<II", 4, value) for name, value in sizes.items()),
        text("tiny.attention.head_count_kv") + heads,
    ]
    header = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(settings))
    path.write_bytes(header + b"".join(settings))
    return str(path)


@pytest.mark.parametrize(
    ("trained", "tokens_in_memory", "window"),
    [
        (2048, 10**9, 2048),
        (2048, 0, 2048),
        (8192, 10**9, 8192),
        (131_072, 10**9, MOST_WINDOW),
        (131_072, 3 * 16_384, 16_384),
        (131_072, 3 * 16_383, 15_360),
        (131_072, 0, LEAST_WINDOW),
        (6000, 0, LEAST_WINDOW),
    ],
)
def test_the_window_follows_the_model_and_the_memory(
    write: Path, trained: int, tokens_in_memory: int, window: int
) -> None:
    """An eighth of the memory is for all slots; the window is what fits, or the least."""
    memory = tokens_in_memory * PER_TOKEN * 8
    assert default_window(gguf(write, trained), 3, memory) == window


@pytest.mark.parametrize(
    ("trained", "n_ctx", "tokens_in_memory", "slots"),
    [
        (131_072, None, 16 * 8192, 16),
        (131_072, None, 16 * 8192 - 1, 8),
        (131_072, None, 5 * 8192, 4),
        (131_072, None, 0, 4),
        (2048, None, 16 * 2048, 16),
        (131_072, 1000, 16 * 1000, 16),
        (131_072, 65_536, 8 * 65_536, 8),
    ],
)
def test_the_slots_follow_the_window_and_the_memory(
    write: Path, trained: int, n_ctx: int | None, tokens_in_memory: int, slots: int
) -> None:
    """An eighth of the memory is for all slots; the most that fit, of 16, 8 and 4."""
    memory = tokens_in_memory * PER_TOKEN * 8
    assert default_slots(gguf(write, trained), n_ctx, memory) == slots


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all, but long enough to read"])
def test_a_header_that_cannot_be_read_gives_the_least(write: Path, content: bytes) -> None:
    """Reporting what is wrong with a file is up to who loads it."""
    write.write_bytes(content)
    assert default_window(str(write), 1) == LEAST_WINDOW
    assert default_slots(str(write), None, 10**12) == 4
    assert default_window(str(write.parent / "none"), 1) == LEAST_WINDOW


def test_a_header_that_is_cut_anywhere_is_no_error(write: Path) -> None:
    """Every beginning of a header can be read as far as it goes."""
    whole = Path(gguf(write, 8192)).read_bytes()
    for length in range(len(whole)):
        write.write_bytes(whole[:length])
        assert default_window(str(write), 1, 10**12) in (LEAST_WINDOW, 8192)


def test_the_available_memory_is_plausible() -> None:
    """It is more than this process uses."""
    memory = available_memory()
    assert memory is None or memory > 10**7
