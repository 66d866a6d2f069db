"""``urial shift`` on the real model, against a plain script of transformers and torch."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("numpy")
pytest.importorskip("jinja2")
pytest.importorskip("typer")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from urial_core import load_prompt
from urial_core.cli.app import app
from urial_core.demo import demo_model_file

pytestmark = [pytest.mark.model, pytest.mark.matrix, pytest.mark.needs("gguf", "accelerate")]

QUESTIONS = (
    {"id": "cats", "turns": ["Why do cats purr?", "Do lions do it, too?"]},
    {"id": "bread", "question": "How do I bake bread?"},
)
TURN = "\n# Query:\n````\n{}\n````\n"
ANSWER = "\n# Answer:\n````\n{}"


def plain_model() -> tuple[Any, Any]:
    """Load the demo model anew in float32, without anything of this project's engine."""
    from urial_core.backends.transformers.loading import converted_gguf

    folder = converted_gguf(demo_model_file(), torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def test_as_a_plain_script(tmp_path: Path) -> None:
    """Ranks are exactly those of full passes without any cache, probabilities to 1e-4.

    The contexts are written out here; their softmax is computed in float64.
    """
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(map(json.dumps, QUESTIONS)), "utf-8")
    options = ("--model", "demo", "--dtype", "float32", "--max-tokens", "24")
    command = ["shift", str(questions), *options, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "tokens.jsonl").read_text("utf-8").splitlines()
    rows = {(row["id"], row["turn"]): row for row in map(json.loads, lines)}
    assert len(rows) == 3
    gc.collect()
    model, tokenizer = plain_model()
    first = TURN.format(QUESTIONS[0]["turns"][0])
    answered = ANSWER.format(rows["cats", 1]["answer"]) + "\n````\n"
    conversations = {
        ("cats", 1): first,
        ("cats", 2): first + answered + TURN.format(QUESTIONS[0]["turns"][1]),
        ("bread", 1): TURN.format(QUESTIONS[1]["question"]),
    }
    checked = 0
    for key, turns in conversations.items():
        context = turns + ANSWER.format("")
        tokens = rows[key]["tokens"]
        answer = [token["id"] for token in tokens]
        sides = {}
        for side, text in (("aligned_", load_prompt().prefix + context), ("", context[1:])):
            ids = tokenizer(text)["input_ids"]
            with torch.no_grad():  # the logits after each token, from the prompt's last on
                passed = model(torch.tensor([ids + answer]), logits_to_keep=len(answer) + 1)
            sides[side] = passed.logits[0, :-1].double().log_softmax(-1)
            for at, token in enumerate(tokens):
                expected = sides[side][at]
                rank = int((expected > expected[token["id"]]).sum()) + 1
                assert token[f"{side}rank"] == rank
                probability = expected[token["id"]].exp().item()
                assert math.exp(token[f"{side}logprob"]) == pytest.approx(probability, abs=1e-4)
                checked += 1
        kl = (sides["aligned_"].exp() * (sides["aligned_"] - sides[""])).sum(-1).tolist()
        assert [token["kl"] for token in tokens] == pytest.approx(kl, abs=1e-3)
    assert checked > 100
