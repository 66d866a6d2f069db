"""The reader's work grows with the text and no faster, whatever the text and its pieces."""

from __future__ import annotations

from time import process_time

import pytest

from urial_core import PromptFormat, ReplyDecoder

SIZE = 100_000
FENCES = [
    pytest.param(f, marks=[pytest.mark.matrix] * (f != "````"), id=f or "none")
    for f in ("````", "```", "")
]
PROSE = "It was a dark and stormy night, and the rain fell in torrents.\n"
HOSTILE = {
    "backticks": "`",
    "hashes": "#",
    "backslashes": "\\",
    "newlines": "\n",
    "spaces": " ",
    "short lines": "#\n",
    "escaped lines": "\\#\n",
    "fences": "```\n",
    "opened blocks": "```x\n",
    "almost headers": "# Query:" + " " * 100 + "\n",
    "nearly stops": "EN",
}


def seconds(unit: str, prompt_format: PromptFormat, size: int, *, pieces: bool) -> float:
    """Measure how long reading takes; headers and ends of replies do not cut it short."""
    raw = (unit * (size // len(unit) + 1))[:size]
    reader = ReplyDecoder(prompt_format, stop=("END", "STOP"), prompt=raw[: size // 4] + "!")
    start = process_time()
    for piece in raw if pieces else [raw]:
        reader.feed(piece)
    reader.flush()
    return process_time() - start


@pytest.fixture(scope="module")
def prose() -> float:
    """Measure ordinary text, character by character."""
    return max(
        0.02, min(seconds(PROSE, PromptFormat(), SIZE // 4, pieces=True) for _ in range(2)) * 4
    )


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_single_characters(unit: str, fence: str, prose: float) -> None:
    """Hostile text fed character by character takes no more than a few times as long as prose."""
    assert seconds(unit, PromptFormat(fence=fence), SIZE, pieces=True) < 8 * prose


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", [*HOSTILE.values(), PROSE], ids=[*HOSTILE, "prose"])
def test_one_piece(unit: str, fence: str) -> None:
    """A whole text fed at once takes time in proportion to its length."""
    prompt_format = PromptFormat(fence=fence)
    short = min(seconds(unit, prompt_format, SIZE // 2, pieces=False) for _ in range(2))
    assert seconds(unit, prompt_format, SIZE * 2, pieces=False) < 8 * max(short, 0.01)


def test_a_long_stop_string() -> None:
    """A long stop string makes each piece's work no more than in proportion to its length."""
    times = []
    for size in (500, 4_000):
        reader = ReplyDecoder(PromptFormat(), stop=("ab" * (size // 2) + "!",))
        start = process_time()
        for _ in range(1_000):
            reader.feed("c")
        times.append(process_time() - start)
    short, long = times
    assert long < 30 * max(short, 0.002)
