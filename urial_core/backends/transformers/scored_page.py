"""Scored page: a page, and the options of which one is the reply."""

from __future__ import annotations

import torch

from urial_core.backends.transformers.page import Page
from urial_core.backends.transformers.prefix_cache import common_prefix
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionChunk, CompletionRequest, TokenLogprob, Usage
from urial_core.structured.constraints import Choice

__all__ = ["ChoiceSequence"]


class ChoiceSequence(Page):
    """A page and the options of a choice.

    Page and option are encoded together, as the page of the next request will be. The last tokens
    of the page may then merge with an option's first. So that all options are compared over the
    same text, each is scored from where any of them first departs from the page alone.

    Attributes:
        tails: For each option, the tokens that are scored: those behind ``ids``.
    """

    def __init__(self, number: int, request: CompletionRequest, tokenization: Tokenization) -> None:
        assert isinstance(request.constraint, Choice)
        super().__init__(number, request, tokenization)
        self._choice = request.constraint
        self._page_tokens = len(self.ids)
        whole = [tuple(tokenization.encode(request.prompt + o)) for o in self._choice.options]
        shared = min(min(common_prefix(ids, self.ids), len(ids) - 1) for ids in whole)
        self.ids = self.ids[: max(shared, 1)]
        self.tails = [ids[len(self.ids) :] for ids in whole]
        self._logprobs = list[float]()

    def score(self, scores: torch.Tensor) -> None:
        """Take the model's scores for the next option's tail, [tokens, vocabulary]."""
        tail = torch.tensor(self.tails[len(self._logprobs)], device=scores.device)
        logprobs = scores.gather(-1, tail[:, None])[:, 0] - scores.logsumexp(-1)
        self._logprobs.append(float(logprobs.double().sum()))

    def choose(self) -> CompletionChunk:
        """Take the best option, once all are scored."""
        options, logprobs = self._choice.options, self._logprobs
        biases = self._choice.biases or (0.0,) * len(options)
        best = max(range(len(options)), key=lambda index: logprobs[index] + biases[index])
        ranked = sorted(zip(options, logprobs, strict=True), key=lambda pair: -pair[1])
        written = len(self.ids) + len(self.tails[best]) - self._page_tokens
        return CompletionChunk(
            options[best],
            finish="stop",
            usage=Usage(self._page_tokens, max(written, 1), self.reused),
            logprobs=(TokenLogprob(options[best], logprobs[best], tuple(ranked)),),
        )
