"""DRY ("don't repeat yourself"): penalize tokens that would lengthen a copied sequence.

The method is p-e-w's (2024, https://github.com/oobabooga/text-generation-webui/pull/5677), with a
scope of its own. There, the whole context counts, so that a reply could not quote a document, code
or a tool's result. Here, the prompt prefix and the assistant's earlier replies count: a small model
copies those where it should answer. What the rest of the conversation holds too is free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionRequest

__all__ = ["CopyPenalty", "copy_penalty"]

_LARGEST_PENALTY = 1e4
"""No logit is as large; beyond this, powers of the base overflow."""


def copy_penalty(request: CompletionRequest, tokenization: Tokenization) -> CopyPenalty | None:
    """Return a request's DRY penalty, at the start of its reply; None if it is off."""
    parameters = request.parameters.resolved()
    if not parameters.dry_multiplier or not request.own_spans or request.constraint is not None:
        return None
    prompt = request.prompt
    starts = (0, *(end for _, end in request.own_spans))
    ends = (*(start for start, _ in request.own_spans), len(prompt))
    others = [prompt[start:end] for start, end in zip(starts, ends, strict=True) if start < end]
    breakers = ("\n", *(parameters.dry_sequence_breakers or ()))
    return CopyPenalty(
        [tokenization.encode(prompt[start:end]) for start, end in request.own_spans],
        [tokenization.encode(text) for text in others],
        breaks=lambda token: any(text in tokenization.decode(token) for text in breakers),
        multiplier=parameters.dry_multiplier,
        base=parameters.dry_base or 1.0,
        allowed_length=parameters.dry_allowed_length or 1,
    )


class CopyPenalty:
    """What each token loses of its logit, by how much a reply copies with it."""

    def __init__(
        self,
        own: Iterable[Sequence[int]],
        free: Iterable[Sequence[int]],
        *,
        breaks: Callable[[int], bool],
        multiplier: float,
        base: float,
        allowed_length: int,
    ) -> None:
        """Start a reply.

        Args:
            own: The texts not to be copied, as tokens.
            free: The texts that may be copied.
            breaks: Whether a copied sequence ends at a token.
            multiplier: The penalty of a token that follows as many copied tokens as are allowed.
            base: What the penalty is multiplied by for each further one.
            allowed_length: How many tokens may be copied freely.
        """
        self._own = _Matches(own)
        self._free = _Matches(free)
        self._breaks = breaks
        self._multiplier = multiplier
        self._base = base
        self._allowed_length = allowed_length

    def accept(self, token: int) -> None:
        """Take the reply's next token."""
        ends = self._breaks(token)
        for matches in (self._own, self._free):
            matches.advance(token, ends=ends)

    def penalties(self) -> dict[int, float]:
        """Return what to subtract from the logits of tokens, by token."""
        lengths = self._own.next_tokens(self._allowed_length)
        if not lengths:
            return {}
        free = self._free.next_tokens(self._allowed_length)
        return {
            token: self._penalty(length)
            for token, length in lengths.items()
            if token not in free and not self._breaks(token)
        }

    def _penalty(self, length: int) -> float:
        try:
            penalty = self._multiplier * self._base ** (length - self._allowed_length)
        except OverflowError:
            return _LARGEST_PENALTY
        return min(penalty, _LARGEST_PENALTY)


class _Matches:
    """The places in some texts where the end of a reply occurs, and how much of it."""

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        self._tokens = list[int | None]()
        for text in texts:
            self._tokens += [*text, None]  # no sequence reaches into the next text
        self._places = defaultdict[int | None, list[int]](list)
        for place, token in enumerate(self._tokens):
            self._places[token].append(place)
        self._lengths = dict[int, int]()  # by the place after the match

    def advance(self, token: int, *, ends: bool) -> None:
        """Take the reply's next token; a sequence may end with it."""
        places = () if ends else self._places.get(token, ())
        self._lengths = {place + 1: self._lengths.get(place, 0) + 1 for place in places}

    def next_tokens(self, least: int) -> dict[int, int]:
        """Return the tokens that follow matches of some length, with the longest one's."""
        found = dict[int, int]()
        for place, length in self._lengths.items():
            token = self._tokens[place]
            if length >= least and token is not None:
                found[token] = max(length, found.get(token, 0))
        return found
