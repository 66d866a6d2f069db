"""Waiting threads of OpenMP: what a model in this process sets before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
