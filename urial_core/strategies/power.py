"""Power sampling: sample from the model's distribution over whole replies, sharpened.

The target is p(reply) ** alpha, normalized: likely replies become likelier as a whole, which a low
temperature does for one token after the other and so misses replies that begin unlikely and go on
well. The samples come from Metropolis-Hastings over blocks (Karan and Du 2025, arXiv 2510.14901,
algorithm 1).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import Any

from urial_core.completion import Completion
from urial_core.composing import ReplyRequest
from urial_core.decoding.text_reply import decode_completion
from urial_core.replies import Reply
from urial_core.strategies.draft import (
    Draft,
    DraftWriter,
    PowerStrategy,
    drawn_logprob,
    total_logprob,
)
from urial_core.strategies.strategy import StrategyStep, StrategySteps

__all__ = ["PowerSampling"]

_LARGEST_EXPONENT = 700.0
"""Of e, as a float; such a proposal is accepted in any case."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PowerSampling(PowerStrategy):
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

    block_size: int = 48
    steps_per_block: int = 8
    batch_size: int = 4

    def __post_init__(self) -> None:
        self._check(
            block_size=self.block_size,
            steps_per_block=self.steps_per_block,
            batch_size=self.batch_size,
        )

    def steps(self, request: ReplyRequest) -> StrategySteps:
        """Run the chain, and return the reply that it ends with.

        Raises:
            ParameterError: The request has tools or a response format.
        """
        chain = _Chain(self, request)
        while chain.unfinished:
            yield from chain.extend()
            yield from chain.improve()
        return chain.reply()


@dataclass
class _Chain(DraftWriter):
    """The Markov chain of one reply."""

    strategy: PowerSampling
    state: Draft = field(default_factory=Draft)
    proposed: int = 0
    accepted: int = 0
    length: int = 0
    """Tokens up to the end of the present block."""

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
            places = [self.random.choice(starts) for _ in range(size)]
            completions = yield from self._write([self.state.before(place) for place in places])
            for place, completion in zip(places, completions, strict=True):
                left -= 1
                self.proposed += 1
                proposal = self.state.before(place).followed_by(completion)
                if self.random.random() < self._acceptance(proposal, place):
                    self.state = proposal
                    self.accepted += 1
                    break

    def reply(self) -> Reply:
        """Return the reply, with what the chain took."""
        completion = Completion(
            self.state.text, self.state.finish, self.usage, logprobs=self.state.tokens
        )
        decoding = {
            "strategy": "power",
            "alpha": self.strategy.alpha,
            "proposals": self.proposed,
            "accepted": self.accepted,
            "acceptance_rate": round(self.accepted / max(self.proposed, 1), 4),
        }
        reply = decode_completion(self.request, completion)
        return self.described(reply, len(self.state.tokens), decoding)

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
        """Continue states up to the end of the present block."""
        return (yield from self.write(states, [self.length - len(one.tokens) for one in states]))
