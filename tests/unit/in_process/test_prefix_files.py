"""llama.cpp's files of prompt prefixes, without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("openai")

from urial_core.backends.completions_server.warming import saved_prefix
from urial_core.backends.llama_cpp.prefix_files import PrefixFiles

PREFIX = "Be brief."


class Server:
    """A server that saves its number of slots as the KV cache, and reads only its own."""

    def __init__(self, n_parallel: int, slots: Path) -> None:
        self.content = f"of {n_parallel} slots"
        self.file = slots / saved_prefix(PREFIX)
        self.computed = 0

    def warm(self, prefix: str, *, is_saved: bool, slots: Sequence[int]) -> None:
        """Compute the prefix and save it, unless what is saved can be read."""
        assert (prefix, slots) == (PREFIX, [0, 2])
        if not is_saved or self.file.read_text() != self.content:
            self.computed += 1
            self.file.write_text(self.content)


@pytest.fixture
def computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Return what starts a server with some slots and returns how often it computes the prefix."""
    monkeypatch.setenv("URIAL_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.gguf"
    model.touch()

    def start(n_parallel: int) -> int:
        slots = tmp_path / "slots"
        slots.mkdir()
        server = Server(n_parallel, slots)
        files = PrefixFiles(str(model), {}, n_parallel, slots)
        files.warm(server, PREFIX, [0, 2])  # type: ignore[arg-type]
        (slots / saved_prefix(PREFIX)).unlink()
        slots.rmdir()
        return server.computed

    return start


def test_each_number_of_slots_has_its_file(computed: Callable[[int], int]) -> None:
    """A server cannot read the file of one with other slots, and does not replace it."""
    assert [computed(n_parallel) for n_parallel in (2, 3, 2, 3)] == [1, 1, 0, 0]
