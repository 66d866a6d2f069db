"""The reply decoder takes linear time, whatever the text and its pieces."""

from __future__ import annotations

from time import process_time

import pytest

from urial_core import PromptFormat, ReplyDecoder
from urial_core.decoding.stream_decoders import EchoDecoder

pytestmark = pytest.mark.no_cover  # which would be measured too

SIZE = 50_000
FENCES = [
    pytest.param(f, marks=[pytest.mark.matrix] * (f != "````"), id=f or "none")
    for f in ("````", "```", "")
]
PROSE = "It was a dark and stormy night, and the rain fell in torrents.\n"
ADVERSARIAL = {
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
    "almost stop strings": "EN",
}


def seconds(unit: str, prompt_format: PromptFormat, size: int, *, pieces: bool) -> float:
    """Measure the CPU seconds for decoding this unit of text, repeated to this size."""
    raw = (unit * (size // len(unit) + 1))[:size]
    echo = EchoDecoder(raw[: size // 4] + "!")
    decoder = ReplyDecoder(prompt_format, stop=("END", "STOP"))
    start = process_time()
    for piece in raw if pieces else [raw]:
        decoder.feed(echo.feed(piece))
    decoder.flush()
    return process_time() - start


@pytest.fixture(scope="module")
def prose() -> float:
    """Measure the CPU seconds for prose, fed character by character."""
    return max(
        0.02, min(seconds(PROSE, PromptFormat(), SIZE // 4, pieces=True) for _ in range(2)) * 4
    )


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_linear_time_by_character(unit: str, fence: str, prose: float) -> None:
    """Adversarial text takes at most a few times as long as prose, fed character by character."""
    assert seconds(unit, PromptFormat(fence=fence), SIZE, pieces=True) < 8 * prose


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", [*ADVERSARIAL.values(), PROSE], ids=[*ADVERSARIAL, "prose"])
def test_linear_time_at_once(unit: str, fence: str) -> None:
    """A text fed at once takes time in proportion to its length."""
    prompt_format = PromptFormat(fence=fence)
    short = min(seconds(unit, prompt_format, SIZE // 2, pieces=False) for _ in range(2))
    assert seconds(unit, prompt_format, SIZE * 2, pieces=False) < 8 * max(short, 0.01)


def test_linear_time_in_the_stop_string() -> None:
    """The time for each piece grows at most in proportion to the stop string's length."""
    times = []
    for size in (500, 4_000):
        decoder = ReplyDecoder(PromptFormat(), stop=("ab" * (size // 2) + "!",))
        start = process_time()
        for _ in range(1_000):
            decoder.feed("c")
        times.append(process_time() - start)
    short, long = times
    assert long < 30 * max(short, 0.002)
