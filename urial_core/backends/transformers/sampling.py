"""Sample a token from logits.

Penalties count the tokens of the reply alone: the prompt's examples hold every fence, list number
and common word, and counting those would push the model away from the very style they teach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from secrets import randbits

import torch

from urial_core.backends.transformers.copy_penalty import CopyPenalty
from urial_core.completion import TokenLogprob
from urial_core.parameters import GenerationParameters

__all__ = ["Best", "Sampler", "best_logits"]

_CANDIDATES = 256
"""Sorting a vocabulary of 262,144 takes half as long as the model itself; this many suffice
wherever they hold the nucleus, which is checked."""
_LARGEST_FACTOR = 1e20
"""By how much logits are multiplied or divided at most, by temperature or penalty: a larger factor
overflows, and one token has all probability far below it."""
_BEST = 64
"""Logits of each row of a batch that are fetched from a GPU at once."""


@dataclass(frozen=True, slots=True)
class Best:
    """The largest logits of a row, which a CPU searches faster than a GPU is asked.

    Attributes:
        tokens: Their tokens, the best first.
        logits: The logits.
    """

    tokens: list[int]
    logits: list[float]


def best_logits(logits: torch.Tensor) -> Iterator[Best | None]:
    """Fetch the largest logits of each row of a batch, [batch, vocabulary], from a GPU.

    One transfer for all rows takes the place of several for each. On a CPU, each row has None.
    """
    if logits.device.type != "cuda":
        return repeat(None, len(logits))
    top = logits.topk(min(_BEST, logits.shape[-1]))
    tokens, values = torch.stack([top.indices.double(), top.values.double()]).cpu()
    return map(Best, tokens.long().tolist(), values.tolist())


class Sampler:
    """Chooses a reply's tokens, one after the other, by its generation parameters.

    Equal seeds give equal choices, whatever else is in the batch.
    """

    def __init__(
        self, parameters: GenerationParameters, copying: CopyPenalty | None = None
    ) -> None:
        """Start a reply.

        Args:
            parameters: How to sample.
            copying: The DRY penalty; None for none.
        """
        self._copying = copying
        self._parameters = parameters.resolved()
        self._temperature = max(self._parameters.temperature or 0.0, 1 / _LARGEST_FACTOR)
        self._counts = Counter[int]()
        seed = randbits(63) if parameters.seed is None else parameters.seed % 2**63
        self._random = torch.Generator().manual_seed(seed)

    def choose(self, logits: torch.Tensor, forbidden: list[int], best: Best | None = None) -> int:
        """Choose the next token.

        Args:
            logits: The model's logits, [vocabulary].
            forbidden: Tokens that may not be chosen here.
            best: The largest of the logits, if they were fetched.
        """
        if best is not None and not self._parameters.temperature:
            token = self._best_of(best, forbidden)
            if token is not None:
                return token
        scores = self._penalised(logits)
        if self._copying and (penalties := self._copying.penalties()):
            tokens = torch.tensor(list(penalties), device=scores.device)
            amounts = torch.tensor(list(penalties.values()), device=scores.device)
            scores = scores.index_add(0, tokens, -amounts.to(scores.dtype))
        if forbidden:
            scores = scores.clone()
            scores[forbidden] = -torch.inf
        if not self._parameters.temperature:
            return int(scores.argmax())
        return self._sample(scores.float() / self._temperature)

    def accept(self, token: int) -> None:
        """Count a chosen token towards the penalties."""
        self._counts[token] += 1
        if self._copying:
            self._copying.accept(token)

    def logprobs(
        self, logits: torch.Tensor, token: int, decode: Callable[[int], str]
    ) -> tuple[TokenLogprob, ...]:
        """Return a token's log-probability before penalties and temperature, if it is wanted."""
        if self._parameters.logprobs is None:
            return ()
        logprobs = logits.float().log_softmax(-1)
        top = logprobs.topk(self._parameters.logprobs)
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        best = tuple((decode(index), value) for index, value in pairs)
        drawn = self._drawn(logits, token)
        return (TokenLogprob(decode(token), float(logprobs[token]), best, drawn),)

    def _drawn(self, logits: torch.Tensor, token: int) -> float | None:
        """Return the log-probability with which a token was drawn, of the whole vocabulary."""
        own = self._parameters
        penalties = (own.repetition_penalty, own.frequency_penalty, own.presence_penalty)
        if not own.temperature or own.top_k or own.top_p != 1 or penalties != (1, 0, 0):
            return None
        if self._copying is not None or own.end_bias or own.banned_openers:
            return None
        scores = logits.float() / self._temperature
        return float(scores[token] - scores.logsumexp(-1))

    def _best_of(self, best: Best, forbidden: list[int]) -> int | None:
        """Return the best token under penalties; None if it may not be among the fetched ones."""
        repetition, frequency, presence = self._penalties()
        if repetition < 1 or frequency < 0 or presence < 0:  # others may rise above them
            return None
        copied = self._copying.penalties() if self._copying else {}
        found, highest = None, best.logits[-1]  # all others are below, and penalties only lower
        for token, logit in zip(best.tokens, best.logits, strict=True):
            if logit < highest:  # as are all that follow
                break
            if token in forbidden:
                continue
            count = self._counts[token]
            repeated = logit / repetition if logit > 0 else logit * repetition
            score = repeated - frequency * count - presence if count else logit
            score -= copied.get(token, 0.0)
            if score > highest or (score == highest and found is not None and token < found):
                found, highest = token, score
        return found

    def _penalties(self) -> tuple[float, float, float]:
        own = self._parameters
        return (
            min(max(own.repetition_penalty or 1.0, 1 / _LARGEST_FACTOR), _LARGEST_FACTOR),
            own.frequency_penalty or 0.0,
            own.presence_penalty or 0.0,
        )

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        repetition, frequency, presence = self._penalties()
        if not self._counts or (repetition, frequency, presence) == (1, 0, 0):
            return logits
        tokens = torch.tensor(list(self._counts), device=logits.device)
        counts = torch.tensor(list(self._counts.values()), device=logits.device)
        seen = logits[tokens].float()
        seen = torch.where(seen > 0, seen / repetition, seen * repetition)
        seen -= frequency * counts + presence
        return logits.index_copy(0, tokens, seen.to(logits.dtype))

    def _sample(self, scores: torch.Tensor) -> int:
        top_k, top_p = self._parameters.top_k, self._parameters.top_p or 1.0
        if not top_k and top_p == 1:
            return self._draw(scores.softmax(-1))
        size = min(top_k or _CANDIDATES, scores.numel())
        values, tokens = scores.topk(size)
        probabilities = (values - (values if top_k else scores).logsumexp(-1)).exp()
        if not top_k and probabilities.sum() < top_p:  # the nucleus is larger
            values, tokens = scores.sort(descending=True)
            probabilities = values.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities
        return int(tokens[self._draw(probabilities.where(before < top_p, 0))])

    def _draw(self, probabilities: torch.Tensor) -> int:
        """Draw from unnormalized probabilities; ``torch.multinomial`` takes ten times as long."""
        if probabilities.device.type != "cuda":
            probabilities = probabilities.cpu()  # Apple's GPUs have no double precision
        sums = probabilities.double().cumsum(-1)
        point = torch.rand((), dtype=torch.float64, generator=self._random).to(sums.device)
        return min(int(torch.searchsorted(sums, point * sums[-1], right=True)), len(sums) - 1)
