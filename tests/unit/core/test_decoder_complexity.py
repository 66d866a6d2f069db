"""The reply decoder takes linear time, whatever the text and its pieces."""

from __future__ import annotations

import pytest
from growth import is_linear

from urial_core import PromptFormat, ReplyDecoder
from urial_core.decoding.stream_decoders import EchoDecoder

pytestmark = pytest.mark.no_cover  # which would be measured too

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


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
def test_linear_time_by_character(unit: str, fence: str) -> None:
    """Adversarial text fed character by character takes time in proportion to its length."""
    prompt_format = PromptFormat(fence=fence)
    assert is_linear(lambda size: decode(unit, prompt_format, size, pieces=True), 16_000)


@pytest.mark.parametrize("fence", FENCES)
@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
def test_linear_time_at_once(unit: str, fence: str) -> None:
    """A text fed at once takes time in proportion to its length."""
    prompt_format = PromptFormat(fence=fence)
    assert is_linear(lambda size: decode(unit, prompt_format, size, pieces=False), 32_000)


def test_linear_time_in_the_stop_string() -> None:
    """The time for each piece grows at most in proportion to the stop string's length."""

    def feed(size: int) -> None:
        decoder = ReplyDecoder(PromptFormat(), stop=("ab" * (size // 2) + "!",))
        for _ in range(1_000):
            decoder.feed("c")

    assert is_linear(feed, 4_096)
