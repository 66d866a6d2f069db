"""Row: one reply being written, token by token."""

from __future__ import annotations

from collections.abc import Collection

import torch

from urial_core.backends.transformers.page import Page
from urial_core.backends.transformers.sampling import Sampler
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionChunk, CompletionRequest, TokenLogprob, Usage
from urial_core.decoding.reply_decoder import reply_decoder
from urial_core.parameters import GenerationParameters

__all__ = ["Row"]

_BLANK_TOKENS = 4
"""Tokens of mere whitespace that a reply may begin with."""


class Row(Page):
    """A page and the reply that is being written behind it.

    Attributes:
        written: The reply's tokens so far.
        finish: Why the reply is over ("stop" or "length"), or None.
    """

    def __init__(
        self,
        number: int,
        request: CompletionRequest,
        tokenization: Tokenization,
        end_of_text: Collection[int],
        parameters: GenerationParameters | None = None,
    ) -> None:
        super().__init__(number, request, tokenization)
        self.written = list[int]()
        self.finish: str | None = None
        self._tokenization = tokenization
        self._end_of_text = end_of_text
        self._decode = tokenization.decoder(self.ids)
        self._reader = reply_decoder(request)
        self._sampler = Sampler(parameters or request.parameters)

    def step(self, logits: torch.Tensor) -> CompletionChunk:
        """Choose the next token from the model's scores, [vocabulary]; return its text."""
        token = self._choose(logits)
        self._sampler.accept(token)
        self.written.append(token)
        text = ""
        if token in self._end_of_text:
            self.finish = "stop"
        else:
            text = self._decode(token)
            self._reader.feed(text)
            if self._reader.ended:
                self.finish = "stop"
            elif len(self.written) >= self.request.max_tokens:
                self.finish = "length"
        return self._chunk(text, self._logprobs(logits, token))

    def _logprobs(self, logits: torch.Tensor, token: int) -> tuple[TokenLogprob, ...]:
        """A chosen token's log-probability, if wanted."""
        if self.request.parameters.logprobs is None:
            return ()
        return (self._sampler.logprob(logits, token, self._tokenization.decode),)

    def _chunk(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> CompletionChunk:
        return CompletionChunk(
            text,
            finish=self.finish,
            usage=Usage(len(self.ids), len(self.written), self.reused),
            logprobs=logprobs,
        )

    def _choose(self, logits: torch.Tensor) -> int:
        """Choose a token; while the reply is blank, none that would end it so."""
        forbidden = list[int]()
        while True:
            token = self._sampler.choose(logits, forbidden)
            if not self._reader.blank or not self._leaves_blank(token):
                return token
            forbidden.append(token)

    def _leaves_blank(self, token: int) -> bool:
        if token in self._end_of_text:
            return True
        text = self._tokenization.decode_reply(self.ids, [*self.written, token])
        if not text:  # a character that is not whole yet
            return False
        if not text.strip():
            return len(self.written) >= _BLANK_TOKENS
        reader = reply_decoder(self.request)
        reader.feed(text)
        return reader.ended and reader.ended_blank
