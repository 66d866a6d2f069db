"""Errors: one line or a usage message, the documented exit code, never a traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from urial_core import __version__, preset_names
from urial_core.errors import install_hint

RunUrial = Callable[..., Result]
URIAL = [sys.executable, str(Path(__file__).parent / "fake_urial.py")]
FAKE_URIAL = [*URIAL, "chat", "--demo"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["chat"], "URIAL_MODEL"),
        (["chat", "--demo", "--model", "m"], "one of them"),
        (["chat", "--demo", "--max-tokens", "0"], "max-tokens"),
        (["chat", "--demo", "--temperature", "-1"], "temperature"),
        (["chat", "--demo", "--temperature", "nan"], "temperature"),
        (["chat", "--demo", "--overflow", "burst"], "overflow"),
        (["chat", "--nonsense"], "nonsense"),
        (["chat", "--demo", "--decoding", "best"], "'best_of_n'"),
        (["chat", "--demo", "--decoding", "nudge"], "--nudge-with"),
        (["chat", "--demo", "--nudge-with", "openai:x"], "--nudge-with"),
    ],
)
def test_invalid_usage(arguments: list[str], part: str, run_urial: RunUrial) -> None:
    """Exit with 2 and name the invalid option."""
    result = run_urial(*arguments)
    assert result.exit_code == 2
    assert part in result.stderr
    assert result.stdout == ""


def test_errors_are_one_line(run_urial: RunUrial, loaded: list[Any]) -> None:
    """Exit with 1 and one line for an unknown prompt, before any model is loaded."""
    result = run_urial("chat", "--demo", "--prompt", "nope")
    assert result.exit_code == 1
    assert result.stderr.startswith("urial: There is no prompt file nope")
    assert result.stderr.count("\n") == 1
    assert loaded == []


def test_version_and_prompts(run_urial: RunUrial) -> None:
    """``--version`` shows the version; ``prompts`` lists every preset, one per line."""
    assert run_urial("--version").stdout == f"urial {__version__}\n"
    lines = run_urial("prompts").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == preset_names()
    assert all(len(line.split("\t")) == 4 for line in lines)


def test_missing_packages_are_named() -> None:
    """Report in one line what to install if the cli extra is missing."""
    code = (
        "import sys; sys.modules['rich'] = None\nfrom urial_core.cli.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == f"urial: rich not installed: {install_hint('cli')}\n"
    assert (done.stdout, done.returncode) == ("", 1)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_interrupt() -> None:
    """Exit with 130 and no message after Ctrl-C in a pipe."""
    with subprocess.Popen(
        FAKE_URIAL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as urial:
        assert urial.stdin
        assert urial.stdout
        assert urial.stderr
        urial.stdin.write(b"Hi\n")
        urial.stdin.flush()
        assert urial.stdout.read(5)
        urial.send_signal(signal.SIGINT)
        assert urial.wait(20) == 130
        assert urial.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_output_closed() -> None:
    """Exit with 141 and no message when the reader of stdout is gone, as with ``| head``."""
    with subprocess.Popen(
        FAKE_URIAL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as urial:
        assert urial.stdin
        assert urial.stdout
        assert urial.stderr
        urial.stdin.write(b"Hi\n")
        urial.stdin.flush()
        assert urial.stdout.read(5)
        urial.stdout.close()
        assert urial.wait(20) == 141
        assert urial.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "--demo"],
        ["prompts"],
        ["prompt", "show", "default"],
        ["prompt", "diff", "default", "ja"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_output_on_a_full_disk(arguments: list[str]) -> None:
    """Exit with 1 and one line if stdout cannot be written."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*URIAL, *arguments],
            input="Hi\n",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"urial: .*No space left on device\n", done.stderr)


def test_output_in_a_narrow_encoding() -> None:
    """What stdout's encoding cannot express is replaced."""
    done = subprocess.run(
        [*URIAL, "prompt", "diff", "default", "ja"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == (b"", 0)
    assert b"+language = 'ja'" in done.stdout
    assert b"???" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_input() -> None:
    """A closed stdin holds no question: it is read as an empty one."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *FAKE_URIAL]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


def test_interrupt_while_commands_are_imported() -> None:
    """Exit with 130 and no message after Ctrl-C before any command runs."""
    code = (
        "import sys\n"
        "from urial_core.cli.__main__ import main\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'urial_core.cli.app':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 130)
