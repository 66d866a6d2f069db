"""Rules for replies of small models: a rising bias towards the end, and openers that are banned.

Two of the three rules of a hand-written adapter that has base models follow instructions (Hewitt et
al. 2024, arXiv 2409.14254); the third is the repetition penalty.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from urial_core.backends.transformers.tokenization import Tokenization, common_prefix
from urial_core.completion import CompletionRequest

__all__ = ["BannedOpeners", "EndBias"]


class EndBias:
    """What the tokens that end a reply gain, the more the longer it is already.

    These are the end-of-text tokens and the delimiter's next token: its first one, or the one after
    what the reply ends with already; at the start of a line, its line break is there.
    """

    def __init__(self, request: CompletionRequest, tokenization: Tokenization) -> None:
        """Start a reply; ``GenerationParameters.end_bias`` of its request must be set."""
        self._per_token = (request.parameters.end_bias or 0.0) / 100
        self._end_of_text = sorted(tokenization.end_of_text)
        delimiter = request.format.stop[0] if request.format else ""
        self._delimiter = _tokens_after("a", delimiter, tokenization)
        self._after_line_break = _tokens_after("a\n", delimiter.lstrip("\n"), tokenization)

    def added(
        self, logits: torch.Tensor, written: Sequence[int], *, at_line_start: bool
    ) -> torch.Tensor:
        """Return logits, [vocabulary], with the bias after the reply's tokens so far."""
        ends = {*self._end_of_text, *self._next(written, at_line_start=at_line_start)}
        tokens = torch.tensor(sorted(ends), device=logits.device)
        bias = torch.full_like(tokens, self._per_token * len(written), dtype=logits.dtype)
        return logits.index_add(0, tokens, bias)

    def _next(self, written: Sequence[int], *, at_line_start: bool) -> Sequence[int]:
        """Return the delimiter's next token; none for a plain text."""
        for tokens in (self._delimiter, self._after_line_break):
            for begun in range(len(tokens) - 1, 0, -1):
                if tuple(written[-begun:]) == tokens[:begun]:
                    return tokens[begun : begun + 1]
        return (self._after_line_break if at_line_start else self._delimiter)[:1]


def _tokens_after(before: str, text: str, tokenization: Tokenization) -> tuple[int, ...]:
    """Return a text's tokens where it follows another, whose end they may take in."""
    alone, whole = (tuple(tokenization.encode(part)) for part in (before, before + text))
    return whole[common_prefix(alone, whole) :]


class BannedOpeners:
    """Which texts a reply must not begin with."""

    def __init__(self, openers: Sequence[str]) -> None:
        """Take the openers; upper and lower case are the same."""
        self._openers = tuple(opener.strip().casefold() for opener in openers)
        self._longest = max(map(len, self._openers), default=0)

    def forbid(self, text: str) -> bool:
        """Return whether a reply's text so far is an opener, or an opener and another word."""
        text = text.lstrip().casefold()
        return any(
            text.startswith(opener) and not text[len(opener) : len(opener) + 1].isalnum()
            for opener in self._openers
        )

    def are_behind(self, text: str) -> bool:
        """Return whether a reply's text so far is too long for an opener to be completed."""
        return len(text.lstrip()) > self._longest
