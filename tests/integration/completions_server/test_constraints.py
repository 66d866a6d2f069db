"""Constrained decoding on a real server."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace

import pytest
from running_server import RunningServer, chosen_server, is_json_on_one_line

from langchain_urial import ChatUrial
from urial_core import CompletionRequest, Message
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.structured.constraints import Choice, JsonSchema

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "Rome"]},
        "capital": {"type": "boolean"},
        "rivers": {"type": "array", "items": {"enum": ["Seine", "Tiber"]}, "maxItems": 2},
    },
    "required": ["city", "capital", "rivers"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer]:
    """A server that has read nothing else: quantized kernels round by what they computed before."""
    with chosen_server(tmp_path_factory.mktemp("constraints")) as chosen:
        yield chosen


@pytest.fixture
def request_(chat: ChatUrial) -> CompletionRequest:
    """A question about Paris."""
    request = chat.urial.request([Message("user", "Describe Paris.")])
    return replace(request, parameters=replace(request.parameters, max_tokens=64))


@pytest.mark.parametrize(
    "way",
    [
        "complete",
        "astream",
        *(pytest.param(way, marks=pytest.mark.matrix) for way in ("acomplete", "stream")),
    ],
)
async def test_json_matches_its_schema(
    model: CompletionsServerModel, request_: CompletionRequest, way: str
) -> None:
    """It is complete, on one line, with the schema's keys in order, and ends by itself."""
    constraint = JsonSchema.of(SCHEMA)
    assert model.features.enforces(constraint)
    request = replace(request_, constraint=constraint)
    match way:
        case "complete":
            chunks = model.complete([request])
        case "acomplete":
            chunks = await model.acomplete([request])
        case "stream":
            chunks = list(model.stream(request))
        case _:
            chunks = [chunk async for chunk in model.astream(request)]
    text = "".join(chunk.text for chunk in chunks)
    assert is_json_on_one_line(text)
    value = json.loads(text)
    assert list(value) == ["city", "capital", "rivers"]
    assert value["city"] in ("Paris", "Rome")
    assert chunks[-1].finish == "stop", text


def test_options_are_scored(model: CompletionsServerModel, request_: CompletionRequest) -> None:
    """The most probable option wins, and a bias changes that; scores are log-probabilities."""
    options = ("The capital of France.", "Zebra", "はい")
    choice = Choice(options)
    assert model.features.enforces(choice)
    [plain] = model.complete([replace(request_, constraint=choice)])
    [chosen] = plain.logprobs
    scores = dict(chosen.top)
    assert set(scores) == set(options)
    assert plain.text == max(options, key=scores.__getitem__) == chosen.token
    assert max(scores.values()) < 0
    worst = min(options, key=scores.__getitem__)
    biases = tuple(1000.0 if option == worst else 0.0 for option in options)
    [biased] = model.complete([replace(request_, constraint=Choice(options, biases))])
    assert biased.text == worst


def test_scores_are_those_of_the_unconstrained_model(
    model: CompletionsServerModel, request_: CompletionRequest
) -> None:
    """An option of one token has that token's unconstrained log-probability."""
    free = replace(request_, parameters=request_.parameters.replace(logprobs=5, max_tokens=1))
    [completion] = model.complete([free])
    (first, value), (second, other) = [
        pair for pair in completion.logprobs[0].top if pair[0].isalpha()
    ][:2]
    [scored] = model.complete([replace(request_, constraint=Choice((first, second)))])
    scores = dict(scored.logprobs[0].top)
    assert scores[first] == pytest.approx(value, abs=0.3)
    assert scores[second] == pytest.approx(other, abs=0.3)
