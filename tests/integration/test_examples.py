"""Test that every example runs on the demo model, as a newcomer would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

QUICK = {"swap_into_lcel"}
"""Run by default; the others run in the long matrix."""

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
    if path.stem not in {"ray_data_batch", "web_chat"}  # which have tests of their own
]


@pytest.mark.model
@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, marks=[pytest.mark.matrix] * (path.stem not in QUICK), id=path.stem)
        for path in EXAMPLES
    ],
)
def test_example_runs(example: Path) -> None:
    """An example exits without an error, and its last line is no delimiter of the prompt."""
    environment = {name: value for name, value in os.environ.items() if name != "URIAL_MODEL"}
    done = subprocess.run(
        [sys.executable, str(example)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    last_line = done.stdout.rstrip().rpartition("\n")[2]
    assert last_line
    assert not last_line.startswith(("````", "# Query", "# Answer"))
