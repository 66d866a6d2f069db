"""Sampling compared with transformers' own logits processors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from urial_core import GenerationParameters
from urial_core.backends.transformers.sampling import Best, Sampler

VOCABULARY = 2000


def logits(seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("top_k", [None, 1, 20, 500])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.3])
@pytest.mark.parametrize("spread", [3.0, 0.1])
def test_only_allowed_tokens(top_k: int | None, top_p: float, spread: float) -> None:
    """Only tokens that transformers' warpers allow are drawn, about as often as they imply."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(0.8)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    scores = logits(0, spread)
    expected = warpers(torch.zeros(1, 1, dtype=torch.long), scores[None].clone())[0].softmax(-1)
    sampler = Sampler(GenerationParameters(temperature=0.8, top_k=top_k, top_p=top_p, seed=1))
    draws = torch.tensor([sampler.choose(scores, []) for _ in range(2000)])
    assert (expected[draws] > 0).all()
    found = draws.bincount(minlength=VOCABULARY) / len(draws)
    best = int(expected.argmax())
    assert float(found[best]) == pytest.approx(float(expected[best]), abs=0.06)


@given(
    seen=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20),
    penalty=st.floats(0.5, 2.0),
)
def test_repetition_penalty(seen: list[int], penalty: float) -> None:
    """The repetition penalty equals transformers' own, over the reply's tokens."""
    sampler = Sampler(GenerationParameters(repetition_penalty=penalty))
    for token in seen:
        sampler.accept(token)
    oracle = RepetitionPenaltyLogitsProcessor(penalty)
    expected = oracle(torch.tensor([seen]), logits(1)[None].clone())[0]
    assert sampler.choose(logits(1), []) == int(expected.argmax())


def test_frequency_and_presence() -> None:
    """Frequency counts each occurrence, presence the first only, as in the OpenAI API."""
    scores = torch.tensor([2.0, 1.9, 0.0])
    once, twice = (
        GenerationParameters(repetition_penalty=1.0, **k)
        for k in (
            {"presence_penalty": 0.05},
            {"frequency_penalty": 0.06},
        )
    )
    for parameters, expected in ((once, 0), (twice, 1)):
        sampler = Sampler(parameters)
        sampler.accept(0)
        sampler.accept(0)
        assert sampler.choose(scores, []) == expected


def test_forbidden() -> None:
    """A forbidden token is never chosen, greedy or sampled."""
    for temperature in (0.0, 1.0):
        sampler = Sampler(GenerationParameters(temperature=temperature, seed=0))
        assert sampler.choose(torch.tensor([9.0, 1.0]), [0]) == 1


@pytest.mark.parametrize("top_p", [0.9, 1.0])
@pytest.mark.parametrize("temperature", [1e-10, 1e-40, 1e-308])
def test_the_lowest_temperatures_are_greedy(temperature: float, top_p: float) -> None:
    """However low the temperature, numbers stay finite: the best token is drawn, surely."""
    sampler = Sampler(GenerationParameters(temperature=temperature, top_p=top_p, seed=0))
    assert sampler.choose(torch.tensor([0.0, 90.0, -90.0, 89.0]), []) == 1
    parameters = GenerationParameters(temperature=temperature, repetition_penalty=1.0, logprobs=0)
    (token,) = Sampler(parameters).logprobs(torch.tensor([0.0, 90.0]), 1, str)
    assert token.drawn == 0


@pytest.mark.parametrize(("penalty", "expected"), [(1e39, 1), (1e-39, 2)])
def test_extreme_penalties_stay_finite(penalty: float, expected: int) -> None:
    """A penalty beyond all numbers of the model's kind acts as a large one, also on logit 0."""
    sampler = Sampler(GenerationParameters(temperature=1.0, repetition_penalty=penalty, seed=0))
    for token in (0, 2):
        sampler.accept(token)
    assert sampler.choose(torch.tensor([0.0, 90.0, 99.0]), []) == expected


def test_bfloat16() -> None:
    """Half precision scores are sampled in single precision."""
    sampler = Sampler(GenerationParameters(temperature=1.0, top_p=0.9, seed=0))
    assert 0 <= sampler.choose(logits(2).bfloat16(), []) < VOCABULARY


@given(
    seen=st.lists(st.integers(0, 11), max_size=8),
    forbidden=st.lists(st.integers(0, 11), max_size=4),
    values=st.lists(st.integers(-9, 9), min_size=12, max_size=12),
    repetition=st.sampled_from([0.8, 1.0, 1.3]),
    presence=st.sampled_from([-1.0, 0.0, 2.0]),
)
def test_the_largest_logits_suffice_or_are_not_used(
    seen: list[int], forbidden: list[int], values: list[int], repetition: float, presence: float
) -> None:
    """A greedy choice is the same whether a few of the largest logits were fetched or none."""
    parameters = GenerationParameters(repetition_penalty=repetition, presence_penalty=presence)
    sampler = Sampler(parameters)
    for token in seen:
        sampler.accept(token)
    scores = torch.tensor(values, dtype=torch.float32) + torch.arange(12) / 100  # no ties
    top = scores.topk(4)
    best = Best(top.indices.tolist(), top.values.tolist())
    assert sampler.choose(scores, forbidden, best) == sampler.choose(scores, forbidden)
