"""Threads of OpenMP: how many compute, and what is set before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from urial_core.backends.openmp import compute_threads

CODE = """
import os, sys
from {module} import {model}
{model}("a.gguf")
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""
MODELS = [
    pytest.param(
        "urial_core.backends.transformers", "TransformersModel", marks=pytest.mark.needs("torch")
    ),
    pytest.param(
        "urial_core.backends.llama_cpp", "LlamaCppModel", marks=pytest.mark.needs("xllamacpp")
    ),
]


@pytest.mark.parametrize(("module", "model"), MODELS)
@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_do_not_spin_unless_the_user_wants_it(
    module: str, model: str, own: dict[str, str], expected: str
) -> None:
    """A model that is not loaded yet limits it, before torch is imported, and respects the user."""
    inherited = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    code = CODE.format(module=module, model=model)
    output = subprocess.check_output([sys.executable, "-c", code], env=inherited | own, text=True)
    assert output.split() == [expected, "False"]


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("1", 1)])
def test_the_environment_sets_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: int
) -> None:
    """``OMP_NUM_THREADS`` counts for llama.cpp as it does for torch."""
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert compute_threads() == expected


@pytest.mark.parametrize("given", [None, "", "0", "many"])
def test_without_a_number_the_cores_are_used(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """There is at least one thread, and no more than there are cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert 1 <= compute_threads() <= (os.cpu_count() or 1)
