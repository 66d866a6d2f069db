"""A completion model that is a Markov chain over letters: its distribution can be enumerated."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import exp, log

from urial_core import Completion, CompletionRequest, ModelFeatures, TokenLogprob, Usage
from urial_core.testing import FakeModel

END = "$"
"""Stands for the end-of-text token."""
TRANSITIONS: dict[str, dict[str, float]] = {
    "": {"a": 0.5, "b": 0.4, END: 0.1},
    "a": {"a": 0.3, "b": 0.4, END: 0.3},
    "b": {"a": 0.1, "b": 0.8, END: 0.1},
}


class MarkovModel(FakeModel):
    """Continues the prompt ``start`` by letters, whose probabilities depend on the last one."""

    def __init__(self, start: str) -> None:
        super().__init__(features=ModelFeatures(reports_every_token=True))
        self._start = start

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Draw letters with each request's temperature and seed."""
        self.requests += requests
        return [self._draw(request) for request in requests]

    def _draw(self, request: CompletionRequest) -> Completion:
        temperature = request.parameters.temperature
        rng = random.Random(request.parameters.seed)  # noqa: S311 - no secret
        written = request.prompt.removeprefix(self._start)
        tokens = list[TokenLogprob]()
        while len(tokens) < request.max_tokens:
            options = TRANSITIONS[written[-1:]]
            weights = [value ** (1 / (temperature or 1)) for value in options.values()]
            (letter,) = rng.choices(list(options), weights)
            drawn = log(options[letter]) / (temperature or 1) - log(sum(weights))
            tokens.append(TokenLogprob(letter, log(options[letter]), (), drawn))
            if letter == END:
                break
            written += letter
        text = "".join(token.token for token in tokens).removesuffix(END)
        finish = "stop" if tokens[-1].token == END else "length"
        return Completion(text, finish, Usage(1, len(tokens), 0), tuple(tokens))


def sharpened(length: int, alpha: float) -> dict[str, float]:
    """Return p ** alpha over all texts of at most so many letters, normalized.

    A text that ends by itself has the mark of the end.
    """
    powers = {text: exp(alpha * value) for text, value in _texts("", 0.0, length)}
    total = sum(powers.values())
    return {text: power / total for text, power in powers.items()}


def _texts(text: str, logprob: float, left: int) -> Iterator[tuple[str, float]]:
    if not left or text.endswith(END):
        yield text, logprob
        return
    for letter, probability in TRANSITIONS[text[-1:]].items():
        yield from _texts(text + letter, logprob + log(probability), left - 1)
