"""JSON row: a reply that is one JSON value which fits a schema."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from urial_core.backends.transformers.row import Row
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionChunk, CompletionRequest, TokenLogprob

if TYPE_CHECKING:
    from urial_core.backends.transformers.json_grammar import JsonText

__all__ = ["JsonSequence"]


class JsonSequence(Row):
    """A reply held to a JSON schema.

    Penalties do not apply: they would punish the very quotes, commas and digits that JSON must
    repeat, and keep the model from closing a string or copying a value. Stop strings and the
    page's delimiter do not apply either: the value ends where it is whole.
    """

    def __init__(
        self,
        number: int,
        request: CompletionRequest,
        tokenization: Tokenization,
        end_of_text: Collection[int],
        text: JsonText,
    ) -> None:
        parameters = request.parameters.replace(
            repetition_penalty=1.0, frequency_penalty=0.0, presence_penalty=0.0
        )
        super().__init__(number, request, tokenization, end_of_text, parameters)
        self._text = text

    def step(self, logits: torch.Tensor) -> CompletionChunk:
        """Choose the next token, and write those that must follow; return their text.

        Where log-probabilities are wanted, tokens that must follow come one by one as well.
        """
        written = ""
        logprobs = list[TokenLogprob]()
        if not self._text.pending:
            self._choose_allowed(logits)
        while self._text.pending:
            token = self._text.pending.popleft()
            self.written.append(token)
            written += self._decode(token)
            if self.request.parameters.logprobs is not None:
                logprobs += self._logprobs(logits, token)
                break
        self.finish = self.finish or self._text.finish
        return self._chunk(written, tuple(logprobs))

    def _choose_allowed(self, logits: torch.Tensor) -> None:
        """Choose a token that fits the schema, or end a value that is whole."""
        allowed = self._text.allowed(logits.shape[-1], logits.device)
        allowed[list(self._end_of_text)] = False
        if self._text.may_end:
            # It ends where the model would rather write something that cannot be part of it.
            token = self._sampler.choose(logits, [])
            if not allowed[token]:
                self.finish = "stop"
                return
        else:
            token = self._sampler.choose(logits.masked_fill(~allowed, -torch.inf), [])
        self._text.accept(token)
