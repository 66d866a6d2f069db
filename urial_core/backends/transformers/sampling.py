"""Sampling: from a row of logits to a token.

Penalties count the tokens of the reply alone: the page's examples hold every fence, list number
and common word, and counting those would push the model away from the very style they teach.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

from urial_core.completion import TokenLogprob
from urial_core.parameters import GenerationParameters

__all__ = ["Sampler"]

_CANDIDATES = 256
"""Sorting a vocabulary of 262,144 takes half as long as the model itself; these many suffice
wherever they hold the nucleus, which is checked."""


class Sampler:
    """Chooses a reply's tokens, one after the other, by its parameters.

    Equal seeds give equal choices whatever else runs in the batch.
    """

    def __init__(self, parameters: GenerationParameters) -> None:
        said = parameters.resolved()
        self._temperature = said.temperature or 0.0
        self._top_p = said.top_p or 1.0
        self._top_k = said.top_k or 0
        self._repetition_penalty = said.repetition_penalty or 1.0
        self._frequency_penalty = said.frequency_penalty or 0.0
        self._presence_penalty = said.presence_penalty or 0.0
        self._alternatives = said.logprobs or 0
        self._counts = Counter[int]()
        self._random = torch.Generator()
        if said.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(said.seed % 2**63)

    def choose(self, logits: torch.Tensor, forbidden: list[int]) -> int:
        """Choose the next token.

        Args:
            logits: The model's scores, [vocabulary].
            forbidden: Tokens that may not be chosen here.
        """
        scores = self._penalised(logits)
        if forbidden:
            scores = scores.clone()
            scores[forbidden] = -torch.inf
        if self._temperature == 0:
            return int(scores.argmax())
        return self._sample(scores.float() / self._temperature)

    def accept(self, token: int) -> None:
        """Count a chosen token as part of the reply."""
        self._counts[token] += 1

    def logprob(
        self, logits: torch.Tensor, token: int, decode: Callable[[int], str]
    ) -> TokenLogprob:
        """Report a token's log-probability as the model sees it."""
        logprobs = logits.float().log_softmax(-1)
        top = logprobs.topk(self._alternatives)
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return TokenLogprob(
            token=decode(token),
            logprob=float(logprobs[token]),
            top=tuple((decode(index), value) for index, value in pairs),
        )

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        penalties = (self._repetition_penalty, self._frequency_penalty, self._presence_penalty)
        if not self._counts or penalties == (1, 0, 0):
            return logits
        tokens = torch.tensor(list(self._counts), device=logits.device)
        counts = torch.tensor(list(self._counts.values()), device=logits.device)
        seen = logits[tokens].float()
        penalty = self._repetition_penalty
        seen = torch.where(seen > 0, seen / penalty, seen * penalty)
        seen -= self._frequency_penalty * counts + self._presence_penalty
        return logits.index_copy(0, tokens, seen.to(logits.dtype))

    def _sample(self, scores: torch.Tensor) -> int:
        top_k, top_p = self._top_k, self._top_p
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
        return int(torch.multinomial(probabilities.cpu(), 1, generator=self._random))
