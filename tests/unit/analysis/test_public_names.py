"""The public names of ``urial_core.analysis``, and what importing it must not load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import urial_core.analysis

NAMES = [
    "Answer",
    "AnswerShift",
    "Comparison",
    "PromptFit",
    "Question",
    "Scores",
    "ShiftSummary",
    "SummaryRow",
    "TokenShift",
    "Verdict",
    "compare",
    "fit",
    "read_pool",
    "read_questions",
    "shift",
]


def test_the_public_names() -> None:
    """The package exports exactly these names, sorted; any change is a change of the API."""
    assert urial_core.analysis.__all__ == NAMES == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    """Every exported name exists and has a docstring."""
    assert getattr(urial_core.analysis, name).__doc__


def test_importing_is_light() -> None:
    """Importing the package loads no framework, no torch, and nothing of its own extra."""
    code = (
        "import sys, json, urial_core.analysis;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    heavy = {"torch", "transformers", "numpy", "langchain_core", "llama_index", "jinja2", "pandas"}
    assert not heavy & set(json.loads(result.stdout))
