"""Which of a few texts a server's model finds most probable."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_server import WAYS, FakeServer, asked, request_for

from urial_core.backends.completions_server.scoring import MAX_SCORED_OPTIONS
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


class Scoring(FakeServer):
    """Tells scores as its kind of server does."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind, self.written if kind == "llama.cpp" else self.looked_up)

    def written(self, body: Any) -> Any:
        """Write the one option that is allowed, two tokens long, then what ends it."""
        [option] = options_of(body)
        half = len(option) // 2
        tokens = [(option[:half], SCORES[option] - 0.25), (option[half:], 0.25), ("", -9.0)]
        content = [{"token": text, "logprob": value, "top_logprobs": []} for text, value in tokens]
        choice = {"index": 0, "text": option, "finish_reason": "stop"}
        return {"choices": [{**choice, "logprobs": {"content": content}}], "usage": USAGE}

    def looked_up(self, body: Any) -> Any:
        """Tell the scores that were asked for, and another token that is more probable."""
        choices = []
        page = min(body["prompt"], key=len)
        for index, ids in enumerate(body["prompt"]):
            before = tuple(self.vocabulary[number - 10] for number in ids[len(page) :])
            told = {
                f"token_id:{token}": TOKENS.get((before, self.vocabulary[token - 10]), -99.0)
                for token in body["logprob_token_ids"]
            }
            logprobs = {"tokens": ["!"], "top_logprobs": [{"!": -0.1, **told}]}
            choices.append({"index": index, "text": "!", "logprobs": logprobs})
        return {"choices": choices[::-1], "usage": USAGE}


def options_of(body: Any) -> list[str]:
    """The options that a request allows."""
    if "grammar" in body:
        return [json.loads(part) for part in body["grammar"].removeprefix("root ::= ").split(" | ")]
    return list(body["structured_outputs"]["choice"])


@pytest.mark.parametrize(("kind", "requests"), [("vllm", 1), ("llama.cpp", 3)])
@pytest.mark.parametrize("way", WAYS)
async def test_the_most_probable_option_is_taken(kind: str, requests: int, way: str) -> None:
    """Each option's tokens add up to its score; what ends it does not count."""
    fake_server = Scoring(kind)
    [chunk] = await asked(
        fake_server.model(), way, request_for(constraint=Choice(tuple(SCORES)[::-1]))
    )
    assert (chunk.text, chunk.finish) == ("# Answer:\n", "stop")
    [taken] = chunk.logprobs
    assert (taken.token, taken.logprob) == ("# Answer:\n", -0.75)
    assert taken.top == tuple(SCORES.items())
    assert chunk.usage is not None
    assert chunk.usage.cached_tokens <= chunk.usage.input_tokens
    assert len(fake_server.completions) == requests


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_offsets_count_in_the_taking_and_not_in_the_scores(kind: str) -> None:
    """An option that is favoured enough wins; what is reported are the log-probabilities."""
    choice = Choice(tuple(SCORES), (0.0, 1.0, 3.0))
    [chunk] = Scoring(kind).model().complete([request_for(constraint=choice)])
    assert chunk.text == "はい"
    assert chunk.logprobs[0].logprob == -3.5
    assert chunk.logprobs[0].top[0] == ("# Answer:\n", -0.75)


def test_sampling_does_not_disturb_the_scores() -> None:
    """Options are written greedily and without penalties, however the reply is sampled."""
    fake_server = Scoring("llama.cpp")
    request = request_for(
        constraint=Choice(tuple(SCORES)), temperature=1.5, repetition_penalty=1.5, max_tokens=1
    )
    fake_server.model().complete([request])
    for body in fake_server.completions:
        assert (body["temperature"], body["repeat_penalty"]) == (0.0, 1.0)
        assert body["max_tokens"] > len(options_of(body)[0])


def test_options_share_what_they_begin_with() -> None:
    """Looked up is each beginning once, behind the page's own tokens."""
    fake_server = Scoring("vllm")
    fake_server.model().complete([request_for(constraint=Choice(tuple(SCORES)))])
    [body] = fake_server.completions
    lengths = sorted(map(len, body["prompt"]))
    assert lengths == [lengths[0] + more for more in (0, 1, 2, 2)]
    assert len(body["logprob_token_ids"]) == 5


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_leaning_is_asked_for_once(kind: str) -> None:
    """Without offsets, the same choice on the same page is known; with them it is made anew."""
    fake_server = Scoring(kind)
    model = fake_server.model()
    plain = request_for(constraint=Choice(tuple(SCORES)))
    [first] = model.complete([plain])
    asked_once = len(fake_server.completions)
    assert model.complete([plain]) == [first]
    assert len(fake_server.completions) == asked_once
    model.complete([request_for(constraint=Choice(tuple(SCORES), (0.0, 1.0, 3.0)))])
    assert len(fake_server.completions) == 2 * asked_once


def silent(body: Any) -> Any:
    """Tell no scores, as other versions of the servers do; of what is allowed, write the last."""
    if "logprob_token_ids" in body:
        choices = [{"index": index, "text": "!"} for index in range(len(body["prompt"]))]
        return {"choices": choices}
    return {"choices": [{"index": 0, "text": options_of(body)[-1], "finish_reason": "stop"}]}


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_without_scores_the_models_own_way_decides(kind: str) -> None:
    """A server that tells none gets one request that allows all the options."""
    fake_server = FakeServer(kind, silent)
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(("a", "b")))])
    assert (chunk.text, chunk.logprobs) == ("b", ())
    assert options_of(fake_server.completions[-1]) == ["a", "b"]


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_what_would_cost_too_much_is_not_scored(kind: str) -> None:
    """Very many options, or options of very many tokens, get one request for all."""
    many = tuple(f"{number:03}" for number in range(MAX_SCORED_OPTIONS + 1))
    fake_server = FakeServer(kind, silent)
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(many))])
    assert chunk.text == many[-1]
    assert len(fake_server.completions) == 1


def test_options_of_too_many_tokens_are_not_scored_on_vllm() -> None:
    """It tells no more than so many tokens' scores."""
    long = tuple(" ".join(f"{end}{number}" for number in range(70)) for end in "ab")
    fake_server = FakeServer("vllm", silent)
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(long))])
    assert chunk.text == long[-1]
    assert len(fake_server.completions) == 1


def test_a_server_without_constraints_is_asked_as_ever() -> None:
    """What it writes may be none of the options, and the caller was told."""
    fake_server = FakeServer("generic")
    [chunk] = fake_server.model().complete([request_for(constraint=Choice(("a", "b")))])
    assert chunk.text == "re: Hi"
