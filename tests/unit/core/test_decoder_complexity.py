"""The reply decoder takes linear time, whatever the text and its pieces."""

from __future__ import annotations

import pytest
from growth import cpu_seconds, is_linear

from urial_core import PromptFormat, ReplyDecoder
from urial_core.decoding.stream_decoders import EchoDecoder

pytestmark = pytest.mark.no_cover  # which would be measured too

SIZE = 50_000
FENCES = [
    pytest.param(f, marks=[pytest.mark.matrix] * (f != "````"), id=f or "none")
    for f in ("````", "```", "")
]
PROSE = "It was a dark and stormy night, and the rain fell in torrents.\n"
TEXTS = {
    "prose": PROSE,
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


def decode(unit: str, prompt_format: PromptFormat, size: int, *, pieces: bool) -> None:
    """Decode this unit of text, repeated to this size, after a prompt that it partly echoes."""
    raw = (unit * (size // len(unit) + 1))[:size]
    echo = EchoDecoder(raw[: size // 4] + "!")
    decoder = ReplyDecoder(prompt_format, stop=("END", "STOP"))
    for piece in raw if pieces else [raw]:
        decoder.feed(echo.feed(piece))
    decoder.flush()


@pytest.fixture(scope="module")
def prose() -> float:
    """Measure the CPU seconds for prose, fed character by character."""
    quarter = min(
        cpu_seconds(lambda: decode(PROSE, PromptFormat(), SIZE // 4, pieces=True)) for _ in range(2)
    )
    return max(0.02, quarter * 4)


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
def test_linear_time_by_character(unit: str, fence: str, prose: float) -> None:
    """Adversarial text takes at most a few times as long as prose, fed character by character."""
    prompt_format = PromptFormat(fence=fence)
    assert any(
        cpu_seconds(lambda: decode(unit, prompt_format, SIZE, pieces=True)) < 8 * prose
        for _ in range(3)
    )


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
def test_linear_time_at_once(unit: str, fence: str) -> None:
    """A text fed at once takes time in proportion to its length."""
    prompt_format = PromptFormat(fence=fence)
    assert is_linear(lambda size: decode(unit, prompt_format, size, pieces=False), SIZE * 2)


def test_linear_time_in_the_stop_string() -> None:
    """The time for each piece grows at most in proportion to the stop string's length."""

    def feed(size: int) -> None:
        decoder = ReplyDecoder(PromptFormat(), stop=("ab" * (size // 2) + "!",))
        for _ in range(1_000):
            decoder.feed("c")

    assert is_linear(feed, 4_096)
