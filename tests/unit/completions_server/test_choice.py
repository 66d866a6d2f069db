"""Which of a few texts a server's model finds most probable."""

from __future__ import annotations

from typing import Any

import pytest
from pretend_server import WAYS, PretendServer, asked, request_for

from urial_core.backends.completions_server.choice import MOST_SCORED
from urial_core.constraint import Choice

SCORES = {"# Answer:\n": -0.75, "# Call:\n": -2.0, "はい": -3.5}


def scoring(body: Any) -> Any:
    """Write the one option that is allowed, two tokens long, then what ends it."""
    option = _options(body)[0]
    half = len(option) // 2
    tokens = [(option[:half], SCORES[option] - 0.25), (option[half:], 0.25), ("", -9.0)]
    content = [{"token": token, "logprob": value, "top_logprobs": []} for token, value in tokens]
    choice = {"index": 0, "text": option, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 40},
    }
    return {"choices": [{**choice, "logprobs": {"content": content}}], "usage": usage}


def _options(body: Any) -> list[str]:
    if "grammar" in body:
        import json

        return [json.loads(part) for part in body["grammar"].removeprefix("root ::= ").split(" | ")]
    return list(body["structured_outputs"]["choice"])


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("way", WAYS)
async def test_the_most_probable_option_is_taken(kind: str, way: str) -> None:
    """Each option's tokens add up to its score; what ends it does not count."""
    pretend = PretendServer(kind, scoring)
    [chunk] = await asked(pretend.model(), way, request_for(constraint=Choice(tuple(SCORES)[::-1])))
    assert (chunk.text, chunk.finish) == ("# Answer:\n", "stop")
    [taken] = chunk.logprobs
    assert (taken.token, taken.logprob) == ("# Answer:\n", -0.75)
    assert taken.top == tuple(SCORES.items())
    assert chunk.usage is not None
    assert (chunk.usage.input_tokens, chunk.usage.output_tokens) == (50, 9)
    assert len(pretend.completions) == 3


def test_offsets_count_in_the_taking_and_not_in_the_scores() -> None:
    """An option that is favoured enough wins; what is reported are the log-probabilities."""
    choice = Choice(tuple(SCORES), (0.0, 1.0, 3.0))
    [chunk] = PretendServer("vllm", scoring).model().complete([request_for(constraint=choice)])
    assert chunk.text == "はい"
    assert chunk.logprobs[0].logprob == -3.5
    assert chunk.logprobs[0].top[0] == ("# Answer:\n", -0.75)


def test_sampling_does_not_disturb_the_scores() -> None:
    """Options are written greedily and without penalties, however the reply is sampled."""
    pretend = PretendServer("llama.cpp", scoring)
    request = request_for(
        constraint=Choice(tuple(SCORES)), temperature=1.5, repetition_penalty=1.5, max_tokens=1
    )
    pretend.model().complete([request])
    for body in pretend.completions:
        assert (body["temperature"], body["repeat_penalty"]) == (0.0, 1.0)
        assert body["max_tokens"] > len(_options(body)[0])


def test_without_scores_the_models_own_way_decides() -> None:
    """A server that reports none, or options beyond counting, get one request for all."""

    def silent(body: Any) -> Any:
        return {"choices": [{"index": 0, "text": _options(body)[-1], "finish_reason": "stop"}]}

    pretend = PretendServer("vllm", silent)
    [chunk] = pretend.model().complete([request_for(constraint=Choice(("a", "b")))])
    assert (chunk.text, chunk.logprobs) == ("b", ())
    many = tuple(f"{number:03}" for number in range(MOST_SCORED + 1))
    pretend = PretendServer("vllm", silent)
    [chunk] = pretend.model().complete([request_for(constraint=Choice(many))])
    assert chunk.text == many[-1]
    assert len(pretend.completions) == 1


def test_a_server_without_constraints_is_asked_as_ever() -> None:
    """What it writes may be none of the options, and the caller was told."""
    pretend = PretendServer("generic")
    [chunk] = pretend.model().complete([request_for(constraint=Choice(("a", "b")))])
    assert chunk.text == "re: Hi"
