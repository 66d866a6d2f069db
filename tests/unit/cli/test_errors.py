"""Mistakes: one line or a usage message, the right exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from urial_core import __version__, preset_names
from urial_core.cli.model_choice import ModelChoice

RunUrial = Callable[..., Result]
SCRIPTED = [sys.executable, str(Path(__file__).parent / "fake_urial.py"), "chat", "--demo"]


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
    ],
)
def test_wrong_usage(arguments: list[str], part: str, run_urial: RunUrial) -> None:
    """Wrong options exit with 2 and name what is wrong."""
    result = run_urial(*arguments)
    assert result.exit_code == 2
    assert part in result.stderr
    assert result.stdout == ""


def test_mistakes_are_one_line(run_urial: RunUrial, choices: list[ModelChoice]) -> None:
    """A prompt that is not there exits with 1 and one line, before any model is loaded."""
    result = run_urial("chat", "--demo", "--prompt", "nope")
    assert result.exit_code == 1
    assert result.stderr.startswith("urial: No prompt 'nope'")
    assert result.stderr.count("\n") == 1
    assert choices == []


def test_version_and_prompts(run_urial: RunUrial) -> None:
    """``--version`` shows the version; ``prompts`` lists every preset, a line each."""
    assert run_urial("--version").stdout == f"urial {__version__}\n"
    lines = run_urial("prompts").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == preset_names()
    assert all(len(line.split("\t")) == 4 for line in lines)


def test_missing_packages_are_named() -> None:
    """Without the cli extra, one line says what to install."""
    code = "import sys; sys.modules['rich'] = None\nfrom urial_core.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "urial: rich not installed: pip install 'urial-chat[cli]'\n"
    assert (done.stdout, done.returncode) == ("", 1)


def test_environment_is_set_before_torch() -> None:
    """Threads are told not to spin, unless the user has said otherwise, and torch comes later."""
    code = (
        "import os, sys; sys.argv = ['urial', '--version']\n"
        "from urial_core.cli.entry import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    for own, expected in ({}, "1000 False"), ({"GOMP_SPINCOUNT": "5"}, "5 False"):
        environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"} | own
        command = [sys.executable, "-c", code]
        output = subprocess.check_output(command, env=environment, text=True)
        assert output.splitlines()[-1] == expected


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_interrupt() -> None:
    """Ctrl-C in a pipe exits with 130 and says nothing more."""
    with subprocess.Popen(
        SCRIPTED, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
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


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX's")
def test_reader_gone() -> None:
    """When nobody reads any more, as with ``| head``, the program ends without a word."""
    with subprocess.Popen(
        SCRIPTED, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
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
