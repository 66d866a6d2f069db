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
_CACHED_LOGITS = 1 << 20
"""Logits that a CPU reduces at a time, so that what lies in between stays in its caches."""


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
    models = aligned, base
    whole = not all(model.run(lambda engine: engine.forward.batches) for model in models)
    if whole and len(pairs) > 1:
        return [compare_sides(aligned, base, [pair])[0] for pair in pairs]
    found = [list[Position]() for _ in pairs]
    answers = [pair.answer for pair in pairs]
    requests = [pair.aligned for pair in pairs], [pair.base for pair in pairs]
    if whole:
        sides = [_whole_answer(m, r, answers) for m, r in zip(models, requests, strict=True)]
    else:
        vocabulary = max(m.run(lambda engine: engine.forward.vocab_size) for m in models)
        positions = max(_BLOCK_LOGITS // vocabulary, 1)
        sides = [_blocks(m, r, answers, positions) for m, r in zip(models, requests, strict=True)]
    for first, second in zip(*sides, strict=True):
        for number, (row, tokens) in enumerate(first.rows):
            found[row].extend(_compared(tokens, first.logits[number], second.logits[number]))
    return found


@dataclass(frozen=True, slots=True)
class _Block:
    """The logits before some tokens of answers.

    Attributes:
        rows: The number and the tokens of each answer that has any here.
        logits: [rows, columns, vocabulary]; what is right of an answer's end must not be used.
    """

    rows: Sequence[tuple[int, Sequence[int]]]
    logits: torch.Tensor


def _compared(
    tokens: Sequence[int], aligned: torch.Tensor, base: torch.Tensor
) -> Generator[Position]:
    """Reduce both sides' logits, [columns, vocabulary] each, to a position for each token."""
    shared = min(aligned.shape[-1], base.shape[-1])  # the rest is padding
    columns = len(tokens) if aligned.device.type != "cpu" else max(_CACHED_LOGITS // shared, 1)
    for start in range(0, len(tokens), columns):
        part = tokens[start : start + columns]
        block = slice(start, start + len(part)), slice(0, shared)
        yield from _reduced(part, aligned[block], base[block].to(aligned.device))


def _reduced(tokens: Sequence[int], aligned: torch.Tensor, base: torch.Tensor) -> list[Position]:
    ids = torch.tensor(tokens, device=aligned.device)
    aligned_sum, base_sum = aligned.logsumexp(-1), base.logsumexp(-1)
    probabilities = (aligned - aligned_sum[:, None]).exp_()
    # Ids that are no tokens have logits of minus infinity on both sides, and add nothing.
    difference = (aligned - base).nan_to_num_(0)
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
    positions: int,
) -> Generator[_Block]:
    """Yield the logits before the answers' tokens, so many positions of all answers at a time.

    An answer that is read leaves the batch, and goes into the prefix cache with its prompt, for the
    conversation's next turn.
    """

    def read(engine: Engine) -> tuple[list[PromptSequence], KVCache, torch.Tensor]:
        sequences = _sequences(engine, requests)
        reader = PromptReader(engine.forward, engine.prefixes, engine.tokenization)
        reader.pass_tokens = _PASS_TOKENS
        return sequences, *_returned(reader.read(sequences))

    def leave(engine: Engine) -> None:
        for place in reversed(range(len(rows))):
            answer = answers[rows[place]]
            if len(answer) <= start + 1:  # nothing follows its last token
                ids = (*sequences[rows[place]].ids, *answer[:-1])
                layers = cache.keys_and_values(place, len(ids))
                engine.prefixes.add(ids, layers, weights=sequences[rows[place]].weights)
                cache.leave(place)
                rows[place] = rows[-1]
                rows.pop()

    sequences, cache, logits = _run(model, read)
    yield _Block([(row, answer[:1]) for row, answer in enumerate(answers)], logits[:, None])
    rows, start = list(range(len(answers))), 0
    _run(model, leave)
    while rows:
        longest = max(len(answers[row]) for row in rows) - 1
        end = min(start + max(positions // len(rows), 1), longest)
        fed = [[*answers[row][start:end], *[0] * (end - start)][: end - start] for row in rows]
        logits = _run(model, partial(_feed, cache, fed))
        yield _Block([(row, answers[row][start + 1 : end + 1]) for row in rows], logits)
        start = end
        _run(model, leave)


def _whole_answer(
    model: TransformersModel,
    requests: Sequence[CompletionRequest],
    answers: Sequence[Sequence[int]],
) -> Generator[_Block]:
    """Yield the logits before all tokens of one answer, from a single pass.

    A model with other state than keys and values reads prompt and answer at once.
    """

    def score(engine: Engine) -> torch.Tensor:
        (sequence,), (answer,) = _sequences(engine, requests), answers
        ids = (*sequence.ids, *answer[:-1])
        return engine.forward(engine.forward.new_cache(), [ids], last=len(answer))

    yield _Block([(0, answers[0])], _run(model, score))


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
