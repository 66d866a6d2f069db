"""JSON row: a reply that is one JSON value which fits a schema."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from urial_core.backends.transformers.row import Row
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionChunk, TokenLogprob
from urial_core.request import Request

if TYPE_CHECKING:
    from urial_core.backends.transformers.json_grammar import JsonMatcher

__all__ = ["JsonRow"]


class JsonRow(Row):
    """A reply held to a JSON schema.

    Penalties do not apply: they would punish the very quotes, commas and digits that JSON must
    repeat, and keep the model from closing a string or copying a value. Stop strings and the
    page's delimiter do not apply either: the value ends where it is whole.
    """

    def __init__(
        self,
        number: int,
        request: Request,
        tokenization: Tokenization,
        end_of_text: Collection[int],
        matcher: JsonMatcher,
    ) -> None:
        parameters = request.parameters.replace(
            repetition_penalty=1.0, frequency_penalty=0.0, presence_penalty=0.0
        )
        super().__init__(number, request, tokenization, end_of_text, parameters)
        self._matcher = matcher
        self._forced = deque(matcher.forced())
        self._one_by_one = parameters.logprobs is not None

    def step(self, logits: torch.Tensor) -> CompletionChunk:
        """Choose the next token, and write those that must follow; return their text.

        Where log-probabilities are wanted, tokens that must follow come one by one as well.
        """
        text = ""
        logprobs = list[TokenLogprob]()
        while self.finish is None:
            token = self._forced.popleft() if self._forced else self._choose_allowed(logits)
            if token is None:
                self.finish = "stop"
                break
            self.written.append(token)
            text += self._decode(token)
            logprobs += self._logprobs(logits, token)
            if not self._forced and self._matcher.complete:
                self.finish = "stop"
            elif len(self.written) >= self.request.max_tokens:
                self.finish = "length"
            if self._one_by_one or not self._forced:
                break
        return self._chunk(text, tuple(logprobs))

    def _choose_allowed(self, logits: torch.Tensor) -> int | None:
        """Choose a token that fits the schema; None ends a value that is whole."""
        allowed = self._matcher.allowed(logits.shape[-1], logits.device)
        allowed[list(self._end_of_text)] = False
        if self._matcher.may_end:
            # It ends where the model would rather write something that cannot be part of it.
            token = self._sampler.choose(logits, [])
            if not allowed[token]:
                return None
        else:
            token = self._sampler.choose(logits.masked_fill(~allowed, -torch.inf), [])
        self._matcher.accept(token)
        self._forced.extend(self._matcher.forced())
        return token
