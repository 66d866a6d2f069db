"""Power sampling by rollouts: choose each block by how well replies go on after it, without MCMC.

Sampling from p(reply) ** alpha token by token takes p(token) ** alpha times a factor for what may
follow: the sum of p(rest) ** alpha over all rests. Short rollouts estimate that factor (Ji et al.
2026, arXiv 2601.21590, theorem 3.1, algorithms 1 and 2, and the jackknife of equation 6). A block
is final once it is chosen, so the reply can be streamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Any

from urial_core.completion import Completion, CompletionChunk
from urial_core.composing import ReplyRequest
from urial_core.decoding.text_reply import TextReply
from urial_core.replies import Reply, TextDelta
from urial_core.strategies.draft import (
    Draft,
    DraftWriter,
    PowerStrategy,
    drawn_logprob,
    total_logprob,
)
from urial_core.strategies.strategy import StrategyStep, StrategySteps

__all__ = ["RolloutPower", "jackknifed"]


@dataclass(frozen=True, kw_only=True, repr=False)
class RolloutPower(PowerStrategy):
    """Sample a reply from about p ** alpha, block by block, by short rollouts.

    For each block, candidates are sampled, and each is continued by rollouts. One candidate is
    drawn by p(block) ** alpha times the rollouts' mean of p(rollout) ** alpha, both divided by
    the probabilities with which they were sampled. Penalties do not apply. With a seed, the reply
    is repeatable.

    The distribution tends to p ** alpha as candidates, rollouts and their length grow. With one
    candidate, it is plain sampling at this temperature.

    Attributes:
        alpha: The power, at least 1. Default 4, as in the paper.
        block_size: Tokens of a block. Default 8. With 1, each token is chosen by itself.
        candidates: Blocks sampled to choose from; equal ones are continued once. Default 4.
        rollouts: Continuations of each candidate. Default 4; the paper has 8.
        rollout_tokens: Tokens of a rollout. Default 16.
        temperature: Of candidates and rollouts. None, the default, is 1 / alpha, with which the
            estimate varies least; the paper's rollouts have 1.
    """

    block_size: int = 8
    candidates: int = 4
    rollouts: int = 4
    rollout_tokens: int = 16

    def __post_init__(self) -> None:
        self._check(
            block_size=self.block_size,
            candidates=self.candidates,
            rollouts=self.rollouts,
            rollout_tokens=self.rollout_tokens,
        )

    def steps(self, request: ReplyRequest) -> StrategySteps:
        """Choose block after block; each is certain once it is chosen.

        Raises:
            ParameterError: The request has tools or a response format.
        """
        return (yield from _Writer(self, request).steps())


@dataclass
class _Writer(DraftWriter):
    """One reply, as it is written."""

    strategy: RolloutPower
    draft: Draft = field(default_factory=Draft)
    blocks: int = 0
    rolled_out: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._decoder = TextReply(self.request)

    def steps(self) -> StrategySteps:
        """Write the reply."""
        while self.draft.finish == "length" and self._left(self.draft) and not self._decoder.ended:
            block = yield from self._choose_block()
            self.blocks += 1
            self.draft = self.draft.followed_by(block)
            chunk = CompletionChunk(block.text, logprobs=block.logprobs)
            yield from self._shown(self._decoder.feed(chunk))
        yield from self._shown(self._decoder.flush(self.draft.finish))
        return self._reply()

    def _choose_block(self) -> Generator[StrategyStep, Any, Completion]:
        """Sample candidates for the next block, and draw one of them by its rollouts."""
        starts = [self.draft] * self.strategy.candidates
        sampled = yield from self._write(starts, self.strategy.block_size)
        keys = [(block.finish, *(token.token for token in block.logprobs)) for block in sampled]
        distinct, counts = dict(zip(keys, sampled, strict=True)), Counter(keys)
        if len(distinct) == 1:
            return sampled[0]
        futures = yield from self._futures(list(distinct.values()))
        weights = [
            [log(counts[key]) + self._weight(block) + future for future in row]
            for (key, block), row in zip(distinct.items(), futures, strict=True)
        ]
        (chosen,) = self.random.choices(list(distinct.values()), jackknifed(weights))
        return chosen

    def _futures(
        self, blocks: Sequence[Completion]
    ) -> Generator[StrategyStep, Any, list[list[float]]]:
        """Return the logarithm of each rollout's weight, for each block; 0 after one that ends."""
        count = self.strategy.rollouts
        drafts = [self.draft.followed_by(block) for block in blocks]
        going = [d for d in drafts if d.finish == "length" and self._left(d)]
        starts = [draft for draft in going for _ in range(count)]
        size = self.strategy.rollout_tokens
        rollouts = iter((yield from self._write(starts, size)) if starts else ())
        self.rolled_out += len(starts)
        return [
            [self._weight(next(rollouts)) if draft in going else 0.0 for _ in range(count)]
            for draft in drafts
        ]

    def _weight(self, piece: Completion) -> float:
        """Return the logarithm of p ** alpha over the probability with which it was sampled."""
        logprob = self.strategy.alpha * total_logprob(piece.logprobs)
        return logprob - drawn_logprob(piece.logprobs)

    def _left(self, draft: Draft) -> int:
        return max(self.request.max_tokens - len(draft.tokens), 0)

    def _write(
        self, drafts: Sequence[Draft], size: int
    ) -> Generator[StrategyStep, Any, list[Completion]]:
        """Continue drafts by so many tokens, or to the reply's limit."""
        return (yield from self.write(drafts, [min(size, self._left(one)) for one in drafts]))

    def _shown(self, deltas: Sequence[TextDelta]) -> Generator[TextDelta]:
        for delta in deltas:
            yield delta if self.wants_logprobs else replace(delta, logprobs=())

    def _reply(self) -> Reply:
        decoding = {
            "strategy": "rollout_power",
            "alpha": self.strategy.alpha,
            "blocks": self.blocks,
            "rollouts": self.rolled_out,
        }
        return self.described(self._decoder.reply(self.usage), len(self.draft.tokens), decoding)


def jackknifed(weights: Sequence[Sequence[float]]) -> list[float]:
    """Return the probabilities of candidates from their rollouts, without the first-order bias.

    A ratio of means is biased by 1 / M with M rollouts, and the jackknife takes that off (Ji et al.
    2026, equations 5 and 6). Estimates below 0 become 0.

    Args:
        weights: The logarithms of each candidate's weights, one for each rollout; as many for each.
    """
    top = max(max(row) for row in weights)
    values = [[exp(weight - top) for weight in row] for row in weights]
    sums = [sum(row) for row in values]
    whole, count = _shares(sums), len(values[0])
    if count == 1:
        return whole
    without = [
        _shares([total - row[left_out] for total, row in zip(sums, values, strict=True)])
        for left_out in range(count)
    ]
    corrected = [
        count * share - (count - 1) / count * sum(shares[at] for shares in without)
        for at, share in enumerate(whole)
    ]
    return _shares([max(value, 0.0) for value in corrected])


def _shares(values: Sequence[float]) -> list[float]:
    values = [max(value, 0.0) for value in values]  # rounding
    total = sum(values)
    return [value / total for value in values] if total else [1 / len(values)] * len(values)
