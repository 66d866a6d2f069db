"""Score given answers token by token (teacher forcing), by two models or after two prompts.

Both sides read the same answer, each after its own prompt, and their next-token distributions are
compared at each position (token distribution shift, Lin et al. 2024, section 2). A distribution has
as many numbers as the vocabulary has tokens, so only a few columns of a batch exist at a time: each
is reduced to a few figures before the next is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from urial_core.backends.transformers.engine import Engine
from urial_core.backends.transformers.kv_cache import KVCache
from urial_core.backends.transformers.model import TransformersModel
from urial_core.backends.transformers.prompt_reader import PromptReader
from urial_core.backends.transformers.sequence import PromptSequence
from urial_core.completion import CompletionChunk, CompletionRequest
from urial_core.errors import UnsupportedModelError

__all__ = ["TOP", "AnswerPair", "Position", "Prediction", "check_same_vocabulary", "compare_sides"]

_T = TypeVar("_T")

TOP = 5
"""How many of the most probable tokens are reported of each distribution."""

_PASS_TOKENS = 512
"""Tokens of prompts in one pass."""
_BLOCK_LOGITS = 1 << 25
"""Logits of one side that exist at a time: 128 MiB in float32."""


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """An answer and the two prompts after which it is read.

    Attributes:
        aligned: The request whose completion the answer is.
        base: The request in which the base model sees the same conversation.
        answer: The answer's tokens; at least one.
    """

    aligned: CompletionRequest
    base: CompletionRequest
    answer: Sequence[int]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model predicts at a position.

    Attributes:
        rank: Rank of the answer's token by probability: 1, and 1 for each token more probable.
        logprob: The token's natural log-probability.
        top: Ids of the most probable tokens with their log-probabilities, best first.
    """

    rank: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A token of an answer, as both sides predict it.

    Attributes:
        aligned: The aligned side's prediction.
        base: The base side's prediction.
        kl: KL(aligned || base) of the whole distributions, in nats.
    """

    aligned: Prediction
    base: Prediction
    kl: float


def check_same_vocabulary(first: TransformersModel, second: TransformersModel) -> None:
    """Check that two models have the same tokens under the same ids; load both.

    Raises:
        UnsupportedModelError: They have not.
    """
    if first is second:
        return
    tokens, others = (model.run(lambda e: e.tokenization.vocabulary) for model in (first, second))
    if tokens != others:
        different = sorted(set(tokens.items()) ^ set(others.items()), key=lambda pair: pair[1])
        example, number = different[0]
        raise UnsupportedModelError(
            f"{first.name} and {second.name} have different vocabularies ({example!r} is token "
            f"{number} of one of them only), so their distributions cannot be compared: use a "
            "model and one that was tuned from it."
        )


@torch.inference_mode()
def compare_sides(
    aligned: TransformersModel, base: TransformersModel, pairs: Sequence[AnswerPair]
) -> list[list[Position]]:
    """Compare two models' predictions of answers, all answers in one batch.

    The passes are jobs of the models' worker threads, so that other requests go on in between.

    Args:
        aligned: The model that wrote the answers.
        base: The model they are compared with; may be the same one.
        pairs: The answers, each with both prompts.

    Returns:
        For each answer, a position for each token.
    """
    whole = not all(model.run(lambda engine: engine.forward.batches) for model in (aligned, base))
    if whole and len(pairs) > 1:
        return [compare_sides(aligned, base, [pair])[0] for pair in pairs]
    found = [list[Position]() for _ in pairs]
    answers = [pair.answer for pair in pairs]
    blocks = _whole_answer if whole else _blocks
    sides = (
        blocks(aligned, [pair.aligned for pair in pairs], answers),
        blocks(base, [pair.base for pair in pairs], answers),
    )
    for aligned_logits, base_logits in zip(*sides, strict=True):
        shared = min(aligned_logits.shape[-1], base_logits.shape[-1])  # the rest is padding
        for row, positions in enumerate(found):
            tokens = answers[row][len(positions) :][: aligned_logits.shape[1]]
            if tokens:
                block = slice(0, len(tokens)), slice(0, shared)
                other = base_logits[row][block].to(aligned_logits.device)
                positions.extend(_compared(tokens, aligned_logits[row][block], other))
    return found


def _compared(tokens: Sequence[int], aligned: torch.Tensor, base: torch.Tensor) -> list[Position]:
    """Reduce the logits of both sides, [tokens, vocabulary] each, to a position for each token."""
    ids = torch.tensor(tokens, device=aligned.device)
    aligned_sum, base_sum = aligned.logsumexp(-1), base.logsumexp(-1)
    probabilities = (aligned - aligned_sum[:, None]).exp_()
    # Ids that are no tokens have logits of minus infinity on both sides, and add nothing.
    difference = (aligned - base).masked_fill_(probabilities == 0, 0)
    kl = probabilities.mul_(difference).sum(-1) - aligned_sum + base_sum
    sides = (_predictions(ids, aligned, aligned_sum), _predictions(ids, base, base_sum))
    return [
        Position(first, second, max(divergence, 0.0))  # rounding
        for first, second, divergence in zip(*sides, kl.tolist(), strict=True)
    ]


def _predictions(ids: torch.Tensor, logits: torch.Tensor, sums: torch.Tensor) -> list[Prediction]:
    chosen = logits.gather(-1, ids[:, None])
    ranks = (logits > chosen).sum(-1) + 1
    logprobs = chosen[:, 0] - sums
    top = logits.topk(min(TOP, logits.shape[-1]))
    best = zip(top.indices.tolist(), (top.values - sums[:, None]).tolist(), strict=True)
    return [
        Prediction(rank, logprob, tuple(zip(tokens, values, strict=True)))
        for rank, logprob, (tokens, values) in zip(
            ranks.tolist(), logprobs.tolist(), best, strict=True
        )
    ]


def _blocks(
    model: TransformersModel,
    requests: Sequence[CompletionRequest],
    answers: Sequence[Sequence[int]],
) -> Generator[torch.Tensor]:
    """Yield the logits before the answers' tokens, some columns at a time: [batch, columns, vocab].

    Shorter answers are padded on the right; what is computed there must not be used. At the end,
    prompts and answers are in the prefix cache, for the conversations' next turns.
    """

    def read(engine: Engine) -> tuple[list[PromptSequence], KVCache, torch.Tensor]:
        sequences = _sequences(engine, requests)
        reader = PromptReader(engine.forward, engine.prefixes, engine.tokenization)
        reader.pass_tokens = _PASS_TOKENS
        return sequences, *_returned(reader.read(sequences))

    sequences, cache, logits = _run(model, read)
    yield logits[:, None]
    fed = max(map(len, answers)) - 1
    columns = max(_BLOCK_LOGITS // logits.numel(), 1)
    for start in range(0, fed, columns):
        width = min(columns, fed - start)
        rows = [[*answer[start : start + width], *[0] * width][:width] for answer in answers]
        yield _run(model, partial(_feed, cache, rows))

    def keep(engine: Engine) -> None:
        for row, (sequence, answer) in enumerate(zip(sequences, answers, strict=True)):
            ids = (*sequence.ids, *answer[:-1])
            engine.prefixes.add(ids, cache.keys_and_values(row, len(ids)))

    _run(model, keep)


def _whole_answer(
    model: TransformersModel,
    requests: Sequence[CompletionRequest],
    answers: Sequence[Sequence[int]],
) -> Generator[torch.Tensor]:
    """Yield the logits before all tokens of one answer, [1, tokens, vocab], from a single pass.

    A model with other state than keys and values reads prompt and answer at once.
    """

    def score(engine: Engine) -> torch.Tensor:
        (sequence,), (answer,) = _sequences(engine, requests), answers
        ids = (*sequence.ids, *answer[:-1])
        return engine.forward(engine.forward.new_cache(), [ids], last=len(answer))

    yield _run(model, score)


def _feed(cache: KVCache, rows: Sequence[Sequence[int]], engine: Engine) -> torch.Tensor:
    return engine.forward(cache, rows, last=len(rows[0]))


def _sequences(engine: Engine, requests: Sequence[CompletionRequest]) -> list[PromptSequence]:
    return [PromptSequence(request, _NoReceiver(), engine.tokenization) for request in requests]


def _run(model: TransformersModel, job: Callable[[Engine], _T]) -> _T:
    """Run a job on a model's worker thread, where inference mode has to be entered as well."""
    return model.run(torch.inference_mode()(job))


def _returned(passes: Generator[None, None, _T]) -> _T:
    """Run a generator to its end; return its result."""
    while True:
        try:
            next(passes)
        except StopIteration as end:
            result: _T = end.value
            return result


class _NoReceiver:
    """Stands for a caller: what is scored sends no chunks."""

    cancelled = False

    def receive(self, item: CompletionChunk | Exception) -> None:
        """Take nothing."""
