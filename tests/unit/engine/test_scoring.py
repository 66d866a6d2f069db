"""Teacher-forced scoring against a plain forward pass without any cache, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from urial_core import (
    CompletionRequest,
    GenerationParameters,
    Message,
    UnsupportedModelError,
    UrialChat,
    load_prompt,
)
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.scoring import (
    AnswerPair,
    Position,
    Prediction,
    check_same_vocabulary,
    compare_sides,
)
from urial_core.completion import TokenRequest

QUESTIONS = (
    "Why do cats purr?",
    "Tell me about boats, please: their history, and how they are built, with some numbers.",
    "Hi",
)
MAX_TOKENS = (20, 45, 1)


def plain_logprobs(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """Log-probabilities before each token of an answer, from one pass over the whole text."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0]
    return logits[len(prompt) - 1 : -1].double().log_softmax(-1)


def check_prediction(found: Prediction, expected: torch.Tensor, token: int) -> None:
    """Ranks are equal, and probabilities to 1e-4."""
    assert found.rank == int((expected > expected[token]).sum()) + 1
    assert math.exp(found.logprob) == pytest.approx(expected[token].exp().item(), abs=1e-4)
    best = expected.topk(5)
    assert [one for one, _ in found.top] == best.indices.tolist()
    assert [math.exp(p) for _, p in found.top] == pytest.approx(
        best.values.exp().tolist(), abs=1e-4
    )


def check_positions(
    found: Sequence[Position], aligned: torch.Tensor, base: torch.Tensor, answer: Sequence[int]
) -> None:
    """Both sides' predictions and their divergence are those of plain forward passes."""
    assert len(found) == len(answer)
    divergences = (aligned.exp() * (aligned - base)).sum(-1).tolist()
    for at, (position, token) in enumerate(zip(found, answer, strict=True)):
        check_prediction(position.aligned, aligned[at], token)
        check_prediction(position.base, base[at], token)
        assert position.kl == pytest.approx(divergences[at], abs=1e-4)


def answered(model: TransformersModel) -> list[AnswerPair]:
    """Answers of a model under a preset, to be compared with the conversation alone."""
    chat = UrialChat(model, load_prompt("default"))
    requests = [
        chat.request(
            [Message("user", question)],
            GenerationParameters(max_tokens=most, repetition_penalty=1.0),
        )
        for question, most in zip(QUESTIONS, MAX_TOKENS, strict=True)
    ]
    completions = model.complete(requests)
    return [
        AnswerPair(request, plain(request.prompt[request.prefix_length :]), completion.token_ids)
        for request, completion in zip(requests, completions, strict=True)
    ]


def plain(prompt: str) -> CompletionRequest:
    """Return a request for the text that follows a prompt."""
    parameters = GenerationParameters(max_tokens=1)
    return CompletionRequest(prompt=prompt, prefix_length=0, stop=(), parameters=parameters)


def test_as_without_any_cache(
    make_model: Callable[..., Any], tokenizer: Any, architecture: str
) -> None:
    """Ranks, probabilities and divergences of a batch are those of one pass for each text.

    Answers of different lengths are in the batch, in blocks of many columns and of few.
    """
    raw = make_model(architecture)
    model = TransformersModel(raw, tokenizer)
    pairs = answered(model)
    assert [len(pair.answer) for pair in pairs] == list(MAX_TOKENS)
    for found, pair in zip(compare_sides(model, model, pairs), pairs, strict=True):
        sides = [
            plain_logprobs(raw, tokenizer(request.prompt)["input_ids"], pair.answer)
            for request in (pair.aligned, pair.base)
        ]
        check_positions(found, *sides, pair.answer)


def test_blocks_make_no_difference(
    make_engine: Callable[..., TransformersModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures do not depend on how many columns exist at a time, nor on the prefix cache."""
    model = make_engine()
    pairs = answered(model)
    expected = compare_sides(model, model, pairs)
    monkeypatch.setattr("urial_core.backends.transformers.scoring._BLOCK_LOGITS", 1)
    again = compare_sides(model, model, pairs)
    uncached = make_engine(prefix_cache_bytes=0)
    for found in (again, compare_sides(uncached, uncached, pairs)):
        for row, wanted in zip(found, expected, strict=True):
            assert [p.base.rank for p in row] == [p.base.rank for p in wanted]
            assert [p.kl for p in row] == pytest.approx([p.kl for p in wanted], abs=1e-5)


def test_two_models(make_model: Callable[..., Any], tokenizer: Any) -> None:
    """The sides may be different models, and a prompt may be given as tokens."""
    raw, other = make_model("llama"), make_model("gpt2")
    models = TransformersModel(raw, tokenizer), TransformersModel(other, tokenizer)
    check_same_vocabulary(*models)
    prompt, answer = (0, 40, 1, 50, 60), (70, 80, 90, 1)
    request = TokenRequest(
        prompt="",
        prompt_ids=prompt,
        prefix_length=0,
        stop=(),
        parameters=GenerationParameters(max_tokens=3),
    )
    pair = AnswerPair(request, plain("Hello there"), answer)
    (found,) = compare_sides(*models, [pair])
    check_positions(
        found,
        plain_logprobs(raw, prompt, answer),
        plain_logprobs(other, tokenizer("Hello there")["input_ids"], answer),
        answer,
    )


def test_a_prompt_of_tokens_is_continued(make_model: Callable[..., Any], tokenizer: Any) -> None:
    """A request whose prompt is tokens, special ones too, is completed as those tokens."""
    raw = make_model("llama")
    prompt = [0, 40, 1, 50, 60]
    request = TokenRequest(
        prompt="",
        prompt_ids=tuple(prompt),
        prefix_length=0,
        stop=(),
        parameters=GenerationParameters(max_tokens=8, repetition_penalty=1.0),
    )
    (found,) = TransformersModel(raw, tokenizer).complete([request])
    expected = raw.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)[0, 5:]
    assert list(found.token_ids) == expected.tolist()


def test_other_vocabularies_are_refused(make_model: Callable[..., Any], tokenizer: Any) -> None:
    """Models whose tokens differ cannot be compared, and the error names a token."""
    import copy

    other = copy.deepcopy(tokenizer)
    other.add_tokens(["<|turn|>"])
    models = (TransformersModel(make_model("llama"), one) for one in (tokenizer, other))
    with pytest.raises(UnsupportedModelError, match=r"<\|turn\|>.*use a model and one"):
        check_same_vocabulary(*models)
