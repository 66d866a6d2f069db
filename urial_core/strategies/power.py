"""Power sampling: sample from the model's distribution over whole replies, sharpened.

The target is p(reply) ** alpha, normalized: likely replies become likelier as a whole, which a low
temperature does for one token after the other and so misses replies that begin unlikely and go on
well. The samples come from Metropolis-Hastings over blocks (Karan and Du 2025, arXiv 2510.14901,
algorithm 1).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from random import Random
from secrets import randbits
from typing import Any, ClassVar

from urial_core.completion import Completion, Usage
from urial_core.composing import ReplyRequest
from urial_core.decoding.steps import total_usage
from urial_core.decoding.text_reply import decode_completion
from urial_core.errors import ParameterError
from urial_core.replies import Reply
from urial_core.strategies.draft import (
    SEED_BITS,
    Draft,
    check_is_text,
    drawn_logprob,
    total_logprob,
)
from urial_core.strategies.strategy import (
    DecodingStrategy,
    StrategyStep,
    StrategySteps,
    WriteCompletions,
)

__all__ = ["PowerSampling"]

_LARGEST_EXPONENT = 700.0
"""Of e, as a float; such a proposal is accepted in any case."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PowerSampling(DecodingStrategy):
    """Sample a reply from p ** alpha, by Metropolis-Hastings over blocks.

    After each block of the reply, suffixes that begin at a random token are written anew, and each
    is accepted with the probability that makes p ** alpha the stationary distribution. Penalties
    do not apply. With a seed, the reply is repeatable.

    Proposals are written in batches; those after an accepted one are discarded, so that the chain
    is the same as one by one. A suffix begins where the text of the tokens is known, which with
    some tokenizers (SentencePiece's with a stripped space) is at the reply's start alone.

    Attributes:
        alpha: The power, at least 1. Default 4, as in the paper.
        block_size: Tokens of a block. Default 48.
        steps_per_block: Proposals for each block. Default 8; the paper has 10.
        batch_size: Proposals written together. Default 4.
        temperature: The proposals' temperature. None, the default, is 1 / alpha, as in the paper.
    """

    needs_every_token: ClassVar[bool] = True

    alpha: float = 4.0
    block_size: int = 48
    steps_per_block: int = 8
    batch_size: int = 4
    temperature: float | None = None

    def __post_init__(self) -> None:
        sizes = (self.block_size, self.steps_per_block, self.batch_size)
        if self.alpha < 1 or min(sizes) < 1:
            raise ParameterError(
                f"alpha is {self.alpha}, block_size {self.block_size}, steps_per_block "
                f"{self.steps_per_block} and batch_size {self.batch_size}: give at least 1 each."
            )
        if self.temperature is not None and not self.temperature > 0:
            raise ParameterError(f"temperature is {self.temperature}: give more than 0, or None.")

    def steps(self, request: ReplyRequest) -> StrategySteps:
        """Run the chain, and return the reply that it ends with.

        Raises:
            ParameterError: The request has tools or a response format.
        """
        check_is_text(request)
        chain = _Chain(self, request)
        while chain.unfinished:
            yield from chain.extend()
            yield from chain.improve()
        return chain.reply()


@dataclass
class _Chain:
    """The Markov chain of one reply."""

    strategy: PowerSampling
    request: ReplyRequest
    state: Draft = field(default_factory=Draft)
    proposed: int = 0
    accepted: int = 0
    usages: list[Usage | None] = field(default_factory=list)
    length: int = 0
    """Tokens up to the end of the present block."""

    def __post_init__(self) -> None:
        seed = self.request.parameters.seed
        self._random = Random(randbits(63) if seed is None else seed)  # noqa: S311 - no secret

    @property
    def unfinished(self) -> bool:
        """Whether the reply goes on after the present block."""
        return self.state.finish == "length" and self.length < self.request.max_tokens

    def extend(self) -> Generator[StrategyStep, Any, None]:
        """Write the next block."""
        self.length = min(self.length + self.strategy.block_size, self.request.max_tokens)
        (completion,) = yield from self._write([self.state])
        self.state = self.state.followed_by(completion)

    def improve(self) -> Generator[StrategyStep, Any, None]:
        """Propose suffixes, and accept or reject each."""
        left = self.strategy.steps_per_block
        while left and (starts := self.state.starts):
            size = min(left, self.strategy.batch_size)
            places = [self._random.choice(starts) for _ in range(size)]
            completions = yield from self._write([self.state.before(place) for place in places])
            for place, completion in zip(places, completions, strict=True):
                left -= 1
                self.proposed += 1
                proposal = self.state.before(place).followed_by(completion)
                if self._random.random() < self._acceptance(proposal, place):
                    self.state = proposal
                    self.accepted += 1
                    break

    def reply(self) -> Reply:
        """Return the reply, with what the chain took."""
        usage = total_usage(self.usages)
        written = len(self.state.tokens)
        completion = Completion(
            self.state.text, self.state.finish, usage, logprobs=self.state.tokens
        )
        reply = decode_completion(self.request, completion)
        decoding = {
            "strategy": "power",
            "alpha": self.strategy.alpha,
            "proposals": self.proposed,
            "accepted": self.accepted,
            "acceptance_rate": round(self.accepted / max(self.proposed, 1), 4),
            "cost_factor": round(usage.output_tokens / max(written, 1), 2) if usage else None,
        }
        wants_logprobs = self.request.parameters.logprobs is not None
        return replace(
            reply,
            end=replace(reply.end, decoding=decoding),
            logprobs=reply.logprobs if wants_logprobs else (),
        )

    def _acceptance(self, proposal: Draft, place: int) -> float:
        """Return the probability with which a proposal is accepted, which may be above 1.

        Both states share what precedes ``place``. A state proposes a suffix at each of its starts
        with the same probability.
        """
        old, new = self.state.tokens[place:], proposal.tokens[place:]
        logarithm = self.strategy.alpha * (total_logprob(new) - total_logprob(old))
        logarithm += drawn_logprob(old) - drawn_logprob(new)
        starts = len(self.state.starts) / max(len(proposal.starts), 1)
        return starts * exp(min(logarithm, _LARGEST_EXPONENT))

    def _write(self, states: Sequence[Draft]) -> Generator[StrategyStep, Any, list[Completion]]:
        """Continue states up to the end of the present block, as one batch."""
        requests = [
            state.continued(
                self.request,
                temperature=self.strategy.temperature or 1 / self.strategy.alpha,
                seed=self._random.getrandbits(SEED_BITS),
                max_tokens=self.length - len(state.tokens),
            )
            for state in states
        ]
        completions: list[Completion] = yield WriteCompletions(requests)
        self.usages += [completion.usage for completion in completions]
        return completions
