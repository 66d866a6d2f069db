"""``urial_core.analysis.shift`` on a real server: vLLM's figures beside those in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
pytest.importorskip("jinja2")

from urial_core import (
    Completion,
    GenerationParameters,
    Message,
    UnsupportedModelError,
    load_prompt,
)
from urial_core.analysis import shift
from urial_core.analysis.token_shift import TokenShift
from urial_core.analysis.token_shift.in_process import InProcessScorer
from urial_core.analysis.token_shift.scoring import WrittenAnswer
from urial_core.analysis.token_shift.sides import PromptedSide, base_request
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.transformers import TransformersModel

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]

QUESTIONS = ["Why do cats purr?", "How do I bake bread?"]


def scoring(model: CompletionsServerModel) -> CompletionsServerModel:
    """Return a model; skip the test unless its server is vLLM."""
    if model.server().dialect.name != "vllm":
        pytest.skip("only vLLM reports prompt_logprobs")
    return model


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``tokens.jsonl``."""
    return [json.loads(line) for line in (folder / "tokens.jsonl").read_text("utf-8").splitlines()]


def in_process(model: TransformersModel, rows: Sequence[Any]) -> list[tuple[TokenShift, ...]]:
    """Return what a model in this process predicts of the tokens of rows' answers."""
    side, parameters = PromptedSide(model, load_prompt("short")), GenerationParameters(max_tokens=1)
    answers = list[WrittenAnswer]()
    for row in rows:
        messages = [Message("user", row["question"])]
        ids = tuple(token["id"] for token in row["tokens"])
        completion = Completion(row["answer"], finish="stop", token_ids=ids)
        request = side.request(messages, parameters)
        answers.append(WrittenAnswer(request, base_request(side, messages), completion))
    found = InProcessScorer(model, model).compare(answers)
    return [tokens for tokens in found if isinstance(tokens, tuple)]


def test_as_in_this_process(
    model: CompletionsServerModel, demo_model: TransformersModel, tmp_path: Path
) -> None:
    """Ranks and probabilities are those of the engine in this process, but for rounding.

    The server may run in bfloat16, whose logits have steps of an eighth.
    """
    shift(QUESTIONS, model=scoring(model), against="short", output=tmp_path, max_tokens=24)
    rows = rows_of(tmp_path)
    assert [row["error"] for row in rows] == ["", ""]
    expected = [token for tokens in in_process(demo_model, rows) for token in tokens]
    found = [token for row in rows for token in row["tokens"]]
    assert [token["text"] for token in found] == [token.text for token in expected]
    pairs = list(zip(found, expected, strict=True))
    assert len(pairs) > 20
    assert sum(one["rank"] == other.rank for one, other in pairs) >= 0.8 * len(pairs)
    assert sum(one["top"][0][0] == other.top[0][0] for one, other in pairs) >= 0.8 * len(pairs)
    differences = [abs(one["logprob"] - other.logprob) for one, other in pairs]
    differences += [abs(one["aligned_logprob"] - other.aligned_logprob) for one, other in pairs]
    assert sum(differences) / len(differences) < 0.1


def test_against_a_model_with_the_prompt_as_its_chat_template(
    model: CompletionsServerModel, tmp_path: Path
) -> None:
    """A served model whose chat template writes a prompt answers as the model under that prompt."""
    scoring(model)
    shift(QUESTIONS, model=model, against="short", output=tmp_path / "prompt", max_tokens=12)
    tuned = model.with_model("gemma-again")
    shift(QUESTIONS, model=model, against=tuned, output=tmp_path / "tuned", max_tokens=12)
    for row, other in zip(rows_of(tmp_path / "prompt"), rows_of(tmp_path / "tuned"), strict=True):
        ids, others = ([token["id"] for token in one["tokens"]] for one in (row, other))
        assert ids == others[: len(ids)]


def test_another_server_is_refused(model: CompletionsServerModel, tmp_path: Path) -> None:
    """A server without ``prompt_logprobs`` is refused before it has written any answer."""
    if model.server().dialect.name == "vllm":
        pytest.skip("vLLM reports prompt_logprobs")
    with pytest.raises(UnsupportedModelError, match="prompt_logprobs"):
        shift(QUESTIONS, model=model, output=tmp_path, max_tokens=12)
    assert rows_of(tmp_path) == []
