"""A draft: the tokens of a reply so far, for strategies that write one piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from urial_core.completion import Completion, CompletionRequest, TokenLogprob
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError

__all__ = ["SEED_BITS", "Draft", "check_is_text", "drawn_logprob", "total_logprob"]

SEED_BITS = 31
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


def total_logprob(tokens: Sequence[TokenLogprob]) -> float:
    """Return the log-probability of some tokens."""
    return sum(token.logprob for token in tokens)


def drawn_logprob(tokens: Sequence[TokenLogprob]) -> float:
    """Return the log-probability with which some tokens were drawn, after temperature."""
    return sum(token.logprob if token.drawn is None else token.drawn for token in tokens)


def check_is_text(request: ReplyRequest) -> None:
    """Check that a reply in text is wanted.

    Raises:
        ParameterError: The request has tools or a response format.
    """
    if request.tools is not None or request.response_format is not None:
        raise ParameterError(
            "Power sampling writes replies in text, and this call has tools or a response "
            "format: leave out decoding= for it, or use BestOfN(score='agreement')."
        )
