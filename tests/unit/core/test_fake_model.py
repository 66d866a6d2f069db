"""The fake model: constraints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.completion import ModelFeatures, estimate_tokens
from urial_core.structured.constraints import Choice, Constraint, JsonSchema
from urial_core.testing import FakeModel


@pytest.mark.parametrize("constraint", [Choice(("yes", "no")), JsonSchema.of({})])
def test_constraints(constraint: Constraint) -> None:
    """It reports the features given, and replays its responses for constrained requests, too."""
    assert not FakeModel().features.enforces(constraint)
    model = FakeModel(
        "yes", "{}", features=ModelFeatures(enforces_choices=True, enforces_json=True)
    )
    assert model.features.enforces(constraint)
    request = replace(
        UrialChat(model, load_prompt("short")).request(
            [Message("user", "Well?")], GenerationParameters(max_tokens=9)
        ),
        constraint=constraint,
    )
    assert [completion.text for completion in model.complete([request, request])] == ["yes", "{}"]
    assert model.requests == [request, request]
    assert hash(request) == hash(replace(request))


def test_an_estimate_counts_characters_beyond_ascii_one_by_one() -> None:
    """Three ASCII characters are a token, each other character is one, and one is added."""
    assert estimate_tokens("") == 1
    assert estimate_tokens("abcdef") == 3
    assert estimate_tokens("日本語") == 4
