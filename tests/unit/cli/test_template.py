"""``urial template``: the template goes to stdout or a file, and how to use it to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from urial_core import load_prompt
from urial_core.chat_template import chat_template, modelfile

RunUrial = Callable[..., Result]


def test_to_stdout(run_urial: RunUrial) -> None:
    """Write the template alone to stdout, and its use and the stop strings to stderr."""
    result = run_urial("template", "--prompt", "ja")
    prompt = load_prompt("ja")
    assert result.stdout_bytes == chat_template(prompt).encode()
    assert "vllm serve MODEL --chat-template urial.jinja" in result.stderr
    assert "llama-server -m MODEL.gguf --jinja --chat-template-file urial.jinja" in result.stderr
    assert json.dumps(prompt.format.stop) in result.stderr
    assert result.exit_code == 0


def test_to_a_file(run_urial: RunUrial, tmp_path: Path) -> None:
    """Write the template's exact bytes to a file; for a GGUF model, without ``bos_token``.

    llama.cpp adds that token itself.
    """
    file = tmp_path / "chat.jinja"
    result = run_urial("template", "--output", str(file), "--model", "m.gguf")
    assert file.read_bytes() == chat_template(load_prompt(), bos=False).encode()
    assert result.stdout == ""
    assert f"-m m.gguf --jinja --chat-template-file {file}" in result.stderr


def test_for_ollama(run_urial: RunUrial) -> None:
    """Write a Modelfile with the model, the prompt prefix and the stop strings."""
    result = run_urial("template", "--format", "modelfile", "--model", "llama3.1:8b-text")
    prompt = load_prompt()
    assert result.stdout == modelfile(prompt, "llama3.1:8b-text")
    assert result.stdout.startswith('FROM llama3.1:8b-text\nPARAMETER stop """\n````"""\n')
    assert prompt.prefix in result.stdout
    assert "ollama create" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--prompt", "nope"], "There is no prompt file nope"),
        (["--format", "modelfile"], "A Modelfile needs --model"),
        (["--output", "/nowhere/at/all"], "Cannot write /nowhere/at/all"),
    ],
)
def test_errors_are_one_line(arguments: list[str], part: str, run_urial: RunUrial) -> None:
    """Exit with 1 and one line on stderr."""
    result = run_urial("template", *arguments)
    assert result.stderr.startswith(f"urial: {part}")
    assert (result.stderr.count("\n"), result.exit_code, result.stdout) == (1, 1, "")


def test_torch_is_not_needed() -> None:
    """A template is written where torch is not installed."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from urial_core.cli.__main__ import main\n"
        "sys.argv = ['urial', 'template']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "add_generation_prompt" in done.stdout
