"""Test that the code of README and docs runs, as a reader would run it.

The Python blocks of a page are one program, from top to bottom. ``<!-- not run: reason -->`` before
a block leaves it out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

QUICK = {"decoding", "prompts", "prompt_formats"}
"""The pages whose Python blocks run by default; the others run in the long matrix."""

SECTIONS = {"swap"}
"""Pages of which each section is a program of its own, which another test runs (test_swaps.py)."""

OWN_COMMAND = re.compile(
    r"^(?:printf [^|\n]+\| )?urial (?!.*--model (?!(?:\./)?model\.gguf)).*", re.MULTILINE
)
"""A line that runs this project's command, and needs no other model than the demo model."""

SVG_TEXT = re.compile(r'<text class="(\w+)"[^>]*>([^<]*)</text>')

BASH = shutil.which("bash") or ""


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    language: str
    line: int
    code: str
    not_run: str


def blocks_of(page: Path, *languages: str) -> list[Block]:
    """Return a page's blocks of code in some languages, with the reason if one is not run."""
    found = re.finditer(
        r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?"
        r"(?P<fence>```+)(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=fence)$",
        text := page.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return [
        Block(m["language"], text.count("\n", 0, m.start("code")), m["code"], m["why"] or "")
        for m in found
        if m["language"] in languages
    ]


def program_of(page: Path) -> str:
    """Return the Python blocks of a page that run, each in the line where the page has it."""
    program = ""
    for block in blocks_of(page, "python"):
        if not block.not_run:
            program += "\n" * (block.line - program.count("\n")) + block.code
    return program


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that has the demo model as ``model.gguf``."""
    from urial_core.demo import demo_model_file

    (folder / "model.gguf").symlink_to(demo_model_file())
    environment = {name: value for name, value in os.environ.items() if name != "URIAL_MODEL"}
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.model
@pytest.mark.needs("langchain", "llama_index", "xllamacpp")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.matrix] * (page.stem not in QUICK), id=page.stem)
        for page in PAGES
        if program_of(page) and page.stem not in SECTIONS
    ],
)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """The blocks of a page run from top to bottom, and so do the tests among them."""
    program = program_of(page)
    file = tmp_path / f"page_{page.stem}.py"  # without a prefix, it could hide a package
    file.write_text(program, encoding="utf-8")
    command = [sys.executable, file.name]
    if re.search(r"^(async )?def test_|^class Test", program, re.MULTILINE):
        command[1:1] = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = run(command, tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_picture_of_the_prompt_is_true() -> None:
    """The picture shows the preset's prompt, and the reply is cut where it says."""
    from urial_core import Message, UrialChat, load_prompt
    from urial_core.testing import FakeModel

    parts = {"prefix": "", "conversation": "", "reply": "", "discarded": ""}
    for name, text in SVG_TEXT.findall((ROOT / "docs/images/prompt.svg").read_text("utf-8")):
        if name in parts:
            parts[name] += f"{unescape(text)}\n"
    model = FakeModel(parts["reply"] + parts["discarded"])
    chat = UrialChat(model, load_prompt("short"))
    request = chat.request([Message("user", "Why do cats purr?")])

    shown = [re.escape(parts[name]).replace("…", ".*?") for name in ("prefix", "conversation")]
    prompt = re.sub("\n+", "\n", request.prompt)
    assert re.fullmatch("".join(shown), prompt, re.DOTALL)
    assert request.prompt[request.prefix_length :].split() == parts["conversation"].split()
    assert chat.reply([request])[0].text == parts["reply"].strip()


def own_commands(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks that run this project's command."""
    blocks = [block for block in blocks_of(page, "sh") if not block.not_run]
    return [found[0] for block in blocks for found in OWN_COMMAND.finditer(block.code)]


SHELL_BLOCKS = [
    pytest.param(block, id=f"{page.stem}:{block.line}")
    for page in PAGES
    for block in blocks_of(page, "sh")
]


@pytest.mark.skipif(not BASH, reason="needs bash")
@pytest.mark.parametrize("block", SHELL_BLOCKS)
def test_shell_blocks_are_well_formed(block: Block) -> None:
    """A shell block is syntax that bash accepts."""
    done = subprocess.run(
        [BASH, "-n"], input=block.code, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.model
@pytest.mark.needs("xllamacpp")
@pytest.mark.matrix
@pytest.mark.skipif(not BASH, reason="needs bash")
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem) for page in PAGES if own_commands(page)]
)
def test_own_commands_run(page: Path, tmp_path: Path) -> None:
    """The command ``urial`` runs as printed, with the demo model as ``model.gguf``."""
    script = [
        "set -e -o pipefail",
        'urial() { "$PYTHON" -m urial_core.cli "$@"; }',
        *own_commands(page),
    ]
    done = run([BASH, "-c", "\n".join(script)], tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
