"""Which weights a model computes with, as the prefix cache tells them apart."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from urial_core.backends.transformers.weights import weights_of


def test_changes_in_place_and_new_parameters_count() -> None:
    """Whatever torch counts as a change of a weight gives another number."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    seen = [weights_of(model)]
    with torch.no_grad():
        model[0].weight.mul_(2)
    seen.append(weights_of(model))
    model[1].weight = torch.nn.Parameter(torch.ones(2, 2))
    seen.append(weights_of(model))
    assert len(set(seen)) == 3
    assert weights_of(model) == seen[-1]


def test_offloaded_parameters_do_not_count() -> None:
    """Accelerate makes new ones on the device ``meta`` for each pass, of the same weights."""
    model = torch.nn.Linear(2, 2)
    model.weight = torch.nn.Parameter(torch.empty(2, 2, device="meta"))
    before = weights_of(model)
    model.weight = torch.nn.Parameter(torch.empty(2, 2, device="meta"))
    assert weights_of(model) == before


def test_a_model_may_be_no_module() -> None:
    """A runtime's wrapper has no modules to look at."""

    class Wrapper:
        pass

    assert weights_of(Wrapper()) == weights_of(Wrapper())
