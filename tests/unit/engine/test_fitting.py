"""``urial_core.analysis.fit`` on tiny models: likelihood is that of plain passes, in any batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("numpy")

from urial_core import Example, PromptFormat, load_prompt
from urial_core.analysis import fit
from urial_core.analysis.method_names import base_model
from urial_core.analysis.prompt_search.measures import prompt_measure
from urial_core.analysis.prompt_search.pool_split import Pair
from urial_core.backends.transformers import TransformersModel

MakeEngine = Callable[..., TransformersModel]
ANSWER = "It boils at 100 °C:\n\n```sh\necho 100\n```\n# Query:\nBye!"
ENDINGS = {"````": ("\n````\n", "\n````"), "": ("\n", "\n\n# Query:")}
"""By the fence: what follows a header, and what ends an answer."""


@pytest.mark.parametrize("fence", ENDINGS)
def test_likelihood_is_that_of_a_plain_pass(
    architecture: str, make_model: Callable[..., Any], make_engine: MakeEngine, fence: str
) -> None:
    """The mean over the tokens of answer and end, after prefix and question, to 1e-4."""
    engine = make_engine(architecture)
    prompt = replace(load_prompt("short"), format=PromptFormat(fence=fence))
    pair = Pair(1, Example("When does water boil?", ANSWER))
    after_header, end = ENDINGS[fence]
    before = f"{prompt.prefix}\n# Query:{after_header}{pair.example.query}{after_header}"
    before += f"\n# Answer:{after_header}"
    answer = ANSWER.replace("# Query:", "\\# Query:") + end
    start, ids = engine.tokenizer(before), engine.tokenizer(before + answer)
    assert ids[: len(start)] == start
    with torch.inference_mode():
        logprobs = make_model(architecture)(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    expected = [float(logprobs[at - 1, ids[at]]) for at in range(len(start), len(ids))]
    measure = prompt_measure("likelihood", base_model(engine), None)
    for _ in range(2):  # without and with cached prefixes
        value = measure.score(prompt, pair).value
        assert value == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_batches_change_nothing(make_engine: MakeEngine, tmp_path: Path) -> None:
    """Pairs that are scored together have the scores that they have alone."""
    engine = make_engine("llama")
    pool = [Example(f"Question {n}?", f"Answer {'so ' * (n % 7)}{n}.") for n in range(24)]
    found = list[dict[tuple[str, int], float]]()
    for concurrency in (1, 8):
        output = tmp_path / f"{concurrency}.toml"
        options = {"start": "short", "examples": 1, "candidates": 2, "concurrency": concurrency}
        fit(pool, model=engine, output=output, **options)  # type: ignore[arg-type]
        rows = map(json.loads, output.with_suffix(".scores.jsonl").read_text().splitlines())
        found.append({(row["prompt"], row["pair"]): row["value"] for row in rows})
    assert len(found[0]) >= 4 * 6
    assert found[0] == pytest.approx(found[1], abs=1e-4)
