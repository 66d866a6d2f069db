"""Drafts: the tokens of a reply so far, and what continues them piece by piece."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from random import Random
from secrets import randbits
from typing import Any, ClassVar

from urial_core.completion import Completion, CompletionRequest, TokenLogprob, Usage
from urial_core.composing import ReplyRequest
from urial_core.decoding.steps import total_usage
from urial_core.errors import ParameterError
from urial_core.replies import Reply
from urial_core.strategies.strategy import DecodingStrategy, StrategyStep, WriteCompletions

__all__ = ["Draft", "DraftWriter", "PowerStrategy", "drawn_logprob", "total_logprob"]

_SEED_BITS = 31
"""Bits of a piece's seed: servers take no longer ones."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply so far: its tokens, and why it ended ("length" if only its last piece did)."""

    tokens: tuple[TokenLogprob, ...] = ()
    text: str = ""
    finish: str | None = "length"

    @property
    def starts(self) -> tuple[int, ...]:
        """The tokens from which a suffix may be written anew: where their text is known."""
        texts = accumulate((token.token for token in self.tokens), initial="")
        before = zip(range(len(self.tokens)), texts, strict=False)
        return tuple(
            place for place, text in before if "\ufffd" not in text and self.text.startswith(text)
        )

    def before(self, place: int) -> Draft:
        """Return the draft that ends before a token."""
        tokens = self.tokens[:place]
        return Draft(tokens, "".join(token.token for token in tokens))

    def followed_by(self, completion: Completion) -> Draft:
        """Return the draft with a piece that was written after it."""
        tokens = (*self.tokens, *completion.logprobs)
        return Draft(tokens, self.text + completion.text, completion.finish)

    def continued(
        self, request: ReplyRequest, *, temperature: float, seed: int, max_tokens: int
    ) -> CompletionRequest:
        """Return the request for the next piece, sampled from the model's own distribution.

        Penalties and limits of what is sampled are off, and each token's probability is reported.
        """
        own = request.parameters
        parameters = replace(
            own,
            temperature=temperature,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            frequency_penalty=0.0,
            presence_penalty=0.0,
            dry_multiplier=0.0,
            end_bias=0.0,
            banned_openers=(),
            seed=seed,
            logprobs=own.logprobs or 0,
            max_tokens=max_tokens,
        )
        return replace(
            request,
            prompt=request.prompt + self.text,
            prefill=request.prefill + self.text,
            parameters=parameters,
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class PowerStrategy(DecodingStrategy):
    """A strategy that samples from the model's distribution, raised to a power.

    Attributes:
        alpha: The power, at least 1.
        temperature: Of the pieces that are sampled; None is 1 / alpha.
    """

    needs_every_token: ClassVar[bool] = True

    alpha: float = 4.0
    temperature: float | None = None

    def _check(self, **sizes: int) -> None:
        """Check the fields, with sizes that must be at least 1.

        Raises:
            ParameterError: A field is out of range.
        """
        for name, value in {"alpha": self.alpha, **sizes}.items():
            if value < 1:
                raise ParameterError(f"{name} is {value}: give at least 1.")
        if self.temperature is not None and not self.temperature > 0:
            raise ParameterError(f"temperature is {self.temperature}: give more than 0, or None.")


@dataclass
class DraftWriter:
    """Continues drafts of the reply to one request.

    Raises:
        ParameterError: The request has tools or a response format.
    """

    strategy: PowerStrategy
    request: ReplyRequest
    usages: list[Usage | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.request.tools is not None or self.request.response_format is not None:
            raise ParameterError(
                "Power sampling writes replies in text, and this call has tools or a response "
                "format: leave out decoding= for it, or use BestOfN(score='agreement')."
            )
        seed = self.request.parameters.seed
        self.random = Random(randbits(63) if seed is None else seed)  # noqa: S311 - no secret

    def write(
        self, drafts: Sequence[Draft], sizes: Sequence[int]
    ) -> Generator[StrategyStep, Any, list[Completion]]:
        """Continue each draft by at most so many tokens, as one batch."""
        requests = [
            draft.continued(
                self.request,
                temperature=self.strategy.temperature or 1 / self.strategy.alpha,
                seed=self.random.getrandbits(_SEED_BITS),
                max_tokens=size,
            )
            for draft, size in zip(drafts, sizes, strict=True)
        ]
        completions: list[Completion] = yield WriteCompletions(requests)
        self.usages += [completion.usage for completion in completions]
        return completions

    @property
    def usage(self) -> Usage | None:
        """What all pieces took, those that were discarded too."""
        return total_usage(self.usages)

    @property
    def wants_logprobs(self) -> bool:
        """Whether the caller asked for log-probabilities."""
        return self.request.parameters.logprobs is not None

    def described(self, reply: Reply, written: int, decoding: Mapping[str, Any]) -> Reply:
        """Return a reply of so many tokens with metadata on how it was found, and what it cost."""
        usage = self.usage
        cost = round(usage.output_tokens / max(written, 1), 2) if usage else None
        return replace(
            reply,
            end=replace(reply.end, decoding={**decoding, "cost_factor": cost}),
            logprobs=reply.logprobs if self.wants_logprobs else (),
        )


def total_logprob(tokens: Sequence[TokenLogprob]) -> float:
    """Return the log-probability of some tokens."""
    return sum(token.logprob for token in tokens)


def drawn_logprob(tokens: Sequence[TokenLogprob]) -> float:
    """Return the log-probability with which some tokens were drawn, after temperature."""
    return sum(token.logprob if token.drawn is None else token.drawn for token in tokens)
