"""A part of the fuzz run, ``benchmarks/fuzz.py``: no input raises anything but a typed error."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
_SPEC = importlib.util.spec_from_file_location("fuzz", _FILE)
fuzz = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz)


@pytest.mark.parametrize("kind", fuzz.KINDS)
@pytest.mark.parametrize(
    "inputs", [80, pytest.param(2000, marks=[pytest.mark.matrix, pytest.mark.no_cover])]
)
@pytest.mark.timeout(300)
def test_every_error_is_typed(kind: str, inputs: int) -> None:
    """Random input of each kind is answered or refused by a typed error."""
    ends = [fuzz.fault_of(kind, number) for number in range(inputs)]
    assert [fault for _, fault in ends if fault] == []
    assert "answered" in {end for end, _ in ends}
