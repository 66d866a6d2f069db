"""Packed linear layers: the same results, and only where they are right and faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from urial_core.backends.transformers import packed_linear
from urial_core.backends.transformers.packed_linear import are_packed, pack_linear_layers


def logits(model: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    with torch.inference_mode():
        result: torch.Tensor = model(input_ids=ids).logits
    return result


def test_packed_layers_give_the_same_logits(
    plain_architecture: str, make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, the logits are equal but for rounding, also where weights are shared."""
    if not packed_linear._packing_helps(torch.float32):
        pytest.skip("packing does not help on this processor")
    model = make_model(plain_architecture)
    plain = logits(model)
    assert not are_packed(model)
    monkeypatch.setattr(packed_linear, "_packing_helps", lambda _: True)
    assert pack_linear_layers(model)
    assert are_packed(model)
    torch.testing.assert_close(logits(model), plain, rtol=1e-4, atol=1e-4)


def test_layers_stay_plain_where_packing_does_not_help(
    make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a gain by the trial, and in a dtype that cannot be packed, nothing is changed."""
    model = make_model("llama")
    monkeypatch.setattr(packed_linear, "_packing_helps", lambda _: False)
    assert not pack_linear_layers(model)
    assert not are_packed(model)
    monkeypatch.undo()
    assert not pack_linear_layers(model.double())


def test_a_wrong_result_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of torch whose packed layers compute something else is not trusted."""
    monkeypatch.setattr(packed_linear, "_packed", lambda weight: weight)
    monkeypatch.setattr(packed_linear, "_multiply", lambda w, _, rows: rows @ w.T + 1)
    assert not packed_linear._packing_helps.__wrapped__(torch.float32)
