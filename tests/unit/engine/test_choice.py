"""Scored choices: the most probable of a few options, alone and in a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import Completion, CompletionRequest
from urial_core.structured.constraints import Choice

MakeEngine = Callable[..., TransformersModel]
OPTIONS = ("# Answer:", "# Tool call:", " why", "日本語で", "x")
QUESTIONS = ("Why?", "How does one write a letter to a friend? " * 8, "Name three colours.")
WHATEVER = GenerationParameters(max_tokens=8)


def ask(engine: TransformersModel, text: str = "Why?", **choice: Any) -> CompletionRequest:
    request = UrialChat(engine, load_prompt("short")).request([Message("user", text)], WHATEVER)
    return replace(request, constraint=Choice(**{"options": OPTIONS, **choice}))


def naive(model: Any, engine: TransformersModel, prompt: str) -> dict[str, float]:
    """Return each option's log-probability by a plain forward pass over all of its text."""
    alone = engine.tokenizer(prompt)
    whole = {option: engine.tokenizer(prompt + option) for option in OPTIONS}
    start = min(
        next(at for at in range(len(ids)) if ids[: at + 1] != alone[: at + 1])
        for ids in whole.values()
    )
    scores = dict[str, float]()
    for option, ids in whole.items():
        with torch.inference_mode():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        scores[option] = sum(float(logprobs[at - 1, ids[at]]) for at in range(start, len(ids)))
    return scores


def scores_of(completion: Completion) -> dict[str, float]:
    (logprob,) = completion.logprobs
    assert logprob.token == completion.text
    assert logprob.logprob == dict(logprob.top)[completion.text]
    assert list(logprob.top) == sorted(logprob.top, key=lambda pair: -pair[1])
    return dict(logprob.top)


def test_scores_are_those_of_plain_passes(
    architecture: str, make_model: Callable[..., Any], make_engine: MakeEngine
) -> None:
    """An option's score is the log-probability of its text, cached or not; the best is chosen."""
    engine = make_engine(architecture)
    request = ask(engine)
    expected = naive(make_model(architecture), engine, request.prompt)
    for _ in range(2):
        completion = engine.complete([request])[0]
        assert scores_of(completion) == pytest.approx(expected, abs=1e-3)
        assert completion.text == max(expected, key=expected.__getitem__)
        assert completion.finish == "stop"


@pytest.mark.parametrize("max_batch_size", [2, 4, 16])
def test_batches(plain_architecture: str, max_batch_size: int, make_engine: MakeEngine) -> None:
    """In a batch of choices and replies, each one equals what it is alone."""
    alone = make_engine(plain_architecture)
    choices = [ask(alone, question) for question in QUESTIONS]
    replies = [replace(request, constraint=None) for request in choices]
    requests = [*choices, *replies, ask(alone, "Who?", options=("yes", "no"))]
    expected = [alone.complete([request])[0] for request in requests]
    together = make_engine(plain_architecture, max_batch_size=max_batch_size)
    completions = together.complete(requests)
    assert [c.text for c in completions] == [c.text for c in expected]
    for one, other in zip(completions, expected, strict=True):
        if one.logprobs:
            assert scores_of(one) == pytest.approx(scores_of(other), abs=1e-3)


def test_biases_decide(make_engine: MakeEngine) -> None:
    """A bias can make any option the best; the scores reported leave it out."""
    engine = make_engine()
    scores = scores_of(engine.complete([ask(engine)])[0])
    for index, option in enumerate(OPTIONS):
        biases = tuple(1000.0 * (index == other) for other in range(len(OPTIONS)))
        completion = engine.complete([ask(engine, biases=biases)])[0]
        assert completion.text == option
        assert scores_of(completion) == pytest.approx(scores, abs=1e-3)


def test_the_prompt_of_a_choice_is_cached(plain_architecture: str, make_engine: MakeEngine) -> None:
    """A request that continues the choice reuses its prompt, and its reply is unchanged."""
    engine = make_engine(plain_architecture)
    request = ask(engine)
    prompt_tokens = len(engine.tokenizer(request.prompt))
    chosen = engine.complete([request])[0]
    assert chosen.usage
    assert chosen.usage.input_tokens == prompt_tokens
    following = replace(request, prompt=request.prompt + chosen.text, constraint=None)
    completion = engine.complete([following])[0]
    assert completion.usage
    assert completion.usage.cached_tokens >= prompt_tokens - 1  # its last token may have merged
    assert completion.text == make_engine(plain_architecture).complete([following])[0].text


def test_all_prompts_of_a_batch_are_cached(make_engine: MakeEngine) -> None:
    """The prompt of every choice in a batch is cached."""
    engine = make_engine()
    requests = [ask(engine, question) for question in QUESTIONS]
    for request, chosen in zip(requests, engine.complete(requests), strict=True):
        following = replace(request, prompt=request.prompt + chosen.text, constraint=None)
        completion = engine.complete([following])[0]
        assert completion.usage
        assert completion.usage.cached_tokens >= len(engine.tokenizer(request.prompt)) - 1
        assert completion.text == make_engine().complete([following])[0].text


def test_a_choice_of_one_option(make_engine: MakeEngine) -> None:
    """A single option is chosen, and its stream is one chunk."""
    engine = make_engine()
    (chunk,) = engine.stream(ask(engine, options=("# Answer:",)))
    assert chunk.text == "# Answer:"
    assert chunk.usage
    assert chunk.usage.output_tokens >= 1


def test_features_include_choices(make_engine: MakeEngine) -> None:
    """``features`` reports that choices are enforced, without loading anything."""
    assert TransformersModel("no/such-model").features.enforces(Choice(OPTIONS))
    assert make_engine().features.enforces(Choice(OPTIONS))
