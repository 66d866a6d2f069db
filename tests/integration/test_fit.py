"""``fit`` on the real demo model: what it is sure of is found, claimed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("numpy")

from urial_core import Example, load_prompt
from urial_core.analysis import fit

if TYPE_CHECKING:
    from urial_core.backends.transformers import TransformersModel

pytestmark = [pytest.mark.model, pytest.mark.matrix]

WORDS = (
    *("apple", "bread", "cheese", "dog", "eagle", "forest", "garden", "house", "island", "jacket"),
    *("kitchen", "lemon", "mountain", "night", "ocean", "paper", "queen", "river", "summer"),
    *("table", "uncle", "village", "water", "year"),
)
POOL = [Example(f"Spell the word {word}.", f"<<{'-'.join(word.upper())}>>") for word in WORDS]
"""Answers in a style that no model would guess, and that one example shows."""


def test_an_example_of_the_style_is_a_gain(demo_model: TransformersModel, tmp_path: Path) -> None:
    """An example from the pool makes held-out answers likelier; a second run scores nothing."""
    output = tmp_path / "spelling.toml"

    def fitted() -> str:
        found = fit(
            POOL,
            model=demo_model,
            output=output,
            start="instruction_only",
            examples=1,
            candidates=2,
        )
        assert found.gain_shown
        assert found.score is not None
        assert found.start_score is not None
        assert found.score.mean > found.start_score.mean + 0.5
        return found.verdict

    verdict = fitted()
    prompt = load_prompt(output)
    assert len(prompt.examples) == 1
    assert prompt.examples[0] in POOL
    assert verdict in prompt.description
    rows = output.with_suffix(".scores.jsonl")
    before = rows.read_bytes()
    assert fitted() == verdict
    assert rows.read_bytes() == before
