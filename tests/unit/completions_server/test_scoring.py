"""Choices of the most probable text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fake_server import WAYS, FakeServer, chunks_from, request_for

from urial_core.backends.completions_server.exchanges import MAX_SCORED_OPTIONS
from urial_core.structured.constraints import Choice

SCORES = {"# Answer:\n": -0.75, "# Call:\n": -2.0, "はい": -3.5}
TOKENS = {
    ((), "#"): -0.5,
    ((), "はい"): -3.5,
    (("#",), " Answer:"): -0.25,
    (("#",), " Call:"): -1.5,
    (("#", " Answer:"), "\n"): 0.0,
    (("#", " Call:"), "\n"): 0.0,
}
USAGE = {
    "prompt_tokens": 50,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 40},
}


class ScoringServer(FakeServer):
    """A fake server that reports log-probabilities as its kind does."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, self.written if kind == "llama.cpp" else self.looked_up)

    def written(self, body: Any) -> Any:
        """Return the one allowed option as two tokens, and the token that ends it."""
        if "grammar" not in body:  # the prompt is read
            return {"choices": [{"index": 0, "text": "!", "finish_reason": "length"}]}
        [option] = options_of(body)
        half = len(option) // 2
        tokens = [(option[:half], SCORES[option] - 0.25), (option[half:], 0.25), ("", -9.0)]
        content = [{"token": text, "logprob": value, "top_logprobs": []} for text, value in tokens]
        choice = {"index": 0, "text": option, "finish_reason": "stop"}
        return {"choices": [{**choice, "logprobs": {"content": content}}], "usage": USAGE}

    def looked_up(self, body: Any) -> Any:
        """Return the requested scores, and another token that is more probable."""
        choices = []
        prompt = min(body["prompt"], key=len)
        for index, ids in enumerate(body["prompt"]):
            before = tuple(self.vocabulary[number - 10] for number in ids[len(prompt) :])
            scores = {
                f"token_id:{token}": TOKENS.get((before, self.vocabulary[token - 10]), -99.0)
                for token in body["logprob_token_ids"]
            }
            logprobs = {"tokens": ["!"], "top_logprobs": [{"!": -0.1, **scores}]}
            choices.append({"index": index, "text": "!", "logprobs": logprobs})
        return {"choices": choices[::-1], "usage": USAGE}


def options_of(body: Any) -> list[str]:
    """Return the options that a request allows."""
    if "grammar" in body:
        return [json.loads(part) for part in body["grammar"].removeprefix("root ::= ").split(" | ")]
    return list(body["structured_outputs"]["choice"])


@pytest.mark.parametrize(("kind", "requests"), [("vllm", 1), ("llama.cpp", 4)])
@pytest.mark.parametrize("way", WAYS)
async def test_the_most_probable_option_is_chosen(kind: str, requests: int, way: str) -> None:
    """An option's score is the sum over its tokens, without the token that ends it."""
    fake_server = ScoringServer(kind)
    [chunk] = await chunks_from(
        fake_server.model(), way, request_for(constraint=Choice(tuple(SCORES)[::-1]))
    )
    assert (chunk.text, chunk.finish) == ("# Answer:\n", "stop")
    [chosen] = chunk.logprobs
    assert (chosen.token, chosen.logprob) == ("# Answer:\n", -0.75)
    assert chosen.top == tuple(SCORES.items())
    assert chunk.usage is not None
    assert chunk.usage.cached_tokens <= chunk.usage.input_tokens
    assert len(fake_server.completions) == requests


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_biases_change_the_choice_but_not_the_scores(kind: str) -> None:
    """An option with enough bias wins; the reported log-probabilities leave biases out."""
    choice = Choice(tuple(SCORES), (0.0, 1.0, 3.0))
    [chunk] = ScoringServer(kind).model().complete([request_for(constraint=choice)])
    assert chunk.text == "はい"
    assert chunk.logprobs[0].logprob == -3.5
    assert chunk.logprobs[0].top[0] == ("# Answer:\n", -0.75)


def test_sampling_parameters_do_not_change_the_scores() -> None:
    """Options are scored greedily and without penalties, whatever the parameters."""
    fake_server = ScoringServer("llama.cpp")
    request = request_for(
        constraint=Choice(tuple(SCORES)), temperature=1.5, repetition_penalty=1.5, max_tokens=1
    )
    fake_server.model().complete([request])
    for body in fake_server.completions:
        assert (body["temperature"], body["repeat_penalty"]) == (0.0, 1.0)
        assert body["max_tokens"] > (len(options_of(body)[0]) if "grammar" in body else 0)


def test_each_option_follows_a_prompt_that_was_read_before() -> None:
    """llama.cpp's first request only reads the prompt: the first option would differ by rounding.

    The others each force one option.
    """
    fake_server = ScoringServer("llama.cpp")
    fake_server.model().complete([request_for(constraint=Choice(tuple(SCORES)))])
    first, *others = fake_server.completions
    assert (first["max_tokens"], "grammar" in first) == (1, False)
    assert all(body["prompt"] == first["prompt"] for body in others)
    assert [options_of(body) for body in others] == [[option] for option in SCORES]


def test_options_share_their_prefixes() -> None:
    """Each common prefix of the options is looked up once, after the prompt's tokens."""
    fake_server = ScoringServer("vllm")
    fake_server.model().complete([request_for(constraint=Choice(tuple(SCORES)))])
    [body] = fake_server.completions
    lengths = sorted(map(len, body["prompt"]))
    assert lengths == [lengths[0] + more for more in (0, 1, 2, 2)]
    assert len(body["logprob_token_ids"]) == 5


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_choice_without_biases_is_cached(kind: str) -> None:
    """The same choice on the same prompt is sent once, by any seed; with biases each time."""
    fake_server = ScoringServer(kind)
    model = fake_server.model()
    plain = request_for(constraint=Choice(tuple(SCORES)))
    [first] = model.complete([plain])
    sent_once = len(fake_server.completions)
    other_seed = replace(plain, parameters=plain.parameters.replace(seed=7))
    assert model.complete([plain, other_seed]) == [first, first]
    assert len(fake_server.completions) == sent_once
    model.complete([request_for(constraint=Choice(tuple(SCORES), (0.0, 1.0, 3.0)))])
    assert len(fake_server.completions) == 2 * sent_once


def without_scores(body: Any) -> Any:
    """Return no scores, as other server versions do; of allowed options, write the last."""
    if "logprob_token_ids" in body:
        choices = [{"index": index, "text": "!"} for index in range(len(body["prompt"]))]
        return {"choices": choices}
    written = options_of(body)[-1] if {"grammar", "structured_outputs"} & set(body) else "!"
    return {"choices": [{"index": 0, "text": written, "finish_reason": "stop"}]}


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_without_scores_the_model_writes_an_option(kind: str) -> None:
    """A server without log-probabilities gets one request that allows all options."""
    fake_server = FakeServer(kind, without_scores)
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(("a", "b")))])
    assert (chunk.text, chunk.logprobs) == ("b", ())
    assert options_of(fake_server.completions[-1]) == ["a", "b"]


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_many_options_are_not_scored(kind: str) -> None:
    """More options than the limit get one request that allows them all."""
    many = tuple(f"{number:03}" for number in range(MAX_SCORED_OPTIONS + 1))
    fake_server = FakeServer(kind, without_scores)
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(many))])
    assert chunk.text == many[-1]
    assert len(fake_server.completions) == 1


def test_options_of_many_tokens_are_not_scored_on_vllm() -> None:
    """Beyond the number of tokens that vLLM reports, one request allows all options."""
    long = tuple(" ".join(f"{end}{number}" for number in range(70)) for end in "ab")
    fake_server = FakeServer("vllm", without_scores)
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(long))])
    assert chunk.text == long[-1]
    assert len(fake_server.completions) == 1


def test_a_server_without_constraints_gets_a_plain_request() -> None:
    """Its completion may be none of the options, as the model's features say."""
    fake_server = FakeServer("generic")
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(("a", "b")))])
    assert chunk.text == "re: Hi"
