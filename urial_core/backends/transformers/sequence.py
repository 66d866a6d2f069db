"""Sequences of a batch: a prompt to read, and the reply that is decoded, scored or constrained."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from urial_core.backends.transformers.copy_penalty import copy_penalty
from urial_core.backends.transformers.json_grammar import JsonText
from urial_core.backends.transformers.prompt_lookup import PromptLookup
from urial_core.backends.transformers.reply_rules import BannedOpeners, EndBias
from urial_core.backends.transformers.sampling import Best, Sampler
from urial_core.backends.transformers.tokenization import Tokenization, common_prefix
from urial_core.completion import (
    CompletionChunk,
    CompletionRequest,
    TokenLogprob,
    TokenRequest,
    Usage,
)
from urial_core.decoding.reply_decoder import reply_decoder
from urial_core.structured.constraints import Choice

__all__ = [
    "ChoiceSequence",
    "JsonSequence",
    "PromptSequence",
    "Receiver",
    "ReplySequence",
]

_MAX_BLANK_TOKENS = 4
"""Tokens of whitespace alone that a reply may begin with."""


class Receiver(Protocol):
    """Who waits for a request's chunks.

    Attributes:
        cancelled: Whether nobody waits any longer; another thread may set it.
    """

    cancelled: bool

    def receive(self, item: CompletionChunk | Exception) -> None:
        """Take the next chunk, or the error that ended the request."""


class PromptSequence:
    """A request's prompt.

    Attributes:
        request: The request.
        receiver: Who waits for its chunks.
        ids: The prompt's tokens.
        cached_tokens: Of them, those found in the prefix cache.
        weights: What reads them (``weights_of``).
    """

    def __init__(
        self, request: CompletionRequest, receiver: Receiver, tokenization: Tokenization
    ) -> None:
        self.request = request
        self.receiver = receiver
        if isinstance(request, TokenRequest):
            self.ids = request.prompt_ids
        else:
            self.ids = tuple(tokenization.encode(request.prompt))
        self.cached_tokens = 0
        self.weights = 0


class ReplySequence(PromptSequence):
    """A prompt and the reply that is being decoded after it.

    Attributes:
        written: The reply's tokens so far.
        unread: Of them, those that the model has yet to read.
        finish: Why the reply is over ("stop" or "length"), or None.
    """

    def __init__(
        self, request: CompletionRequest, receiver: Receiver, tokenization: Tokenization
    ) -> None:
        super().__init__(request, receiver, tokenization)
        self.written = list[int]()
        self.unread = list[int]()
        self.finish: str | None = None
        self._tokenization = tokenization
        self._decode = tokenization.decoder(self.ids)
        self._reply = reply_decoder(request)
        self._sampler = Sampler(request.parameters, copy_penalty(request, tokenization))
        parameters = request.parameters
        self._end_bias = EndBias(request, tokenization) if parameters.end_bias else None
        openers = () if request.prefill else parameters.banned_openers or ()
        self._banned = BannedOpeners(openers) if openers else None
        self._at_line_start = True
        self._lookup: PromptLookup | None = None
        self._sent = 0  # tokens of the chunks so far

    def draft(self) -> list[int]:
        """Return what the reply is likely to copy from the prompt next; may be empty."""
        if self._lookup is None:
            self._lookup = PromptLookup([*self.ids, *self.written])
        return self._lookup.draft()[: self.request.max_tokens - len(self.written) - 1]

    def report_draft(self, right: int) -> None:
        """Learn how many tokens of the last draft were right."""
        if self._lookup is not None:
            self._lookup.report(right)

    def step(self, logits: torch.Tensor, best: Best | None = None) -> CompletionChunk:
        """Choose the next token; return its text.

        Args:
            logits: The model's logits, [vocabulary].
            best: The largest of them, if they were fetched from a GPU.
        """
        token = self._choose(logits, best)
        self._sampler.accept(token)
        self._write(token)
        text = ""
        if token in self._tokenization.end_of_text:
            self.finish = "stop"
        else:
            text = self._decode(token)
            self._at_line_start = text.endswith("\n") if text else self._at_line_start
            self._reply.feed(text)
            if self._reply.ended:
                self.finish = "stop"
            elif len(self.written) >= self.request.max_tokens:
                self.finish = "length"
        return self._chunk(text, self._sampler.logprobs(logits, token, self._tokenization.decode))

    def _write(self, token: int) -> None:
        self.written.append(token)
        self.unread.append(token)
        if self._lookup is not None:
            self._lookup.accept(token)

    def _chunk(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> CompletionChunk:
        usage = Usage(len(self.ids), len(self.written), self.cached_tokens)
        token_ids = tuple(self.written[self._sent :])
        self._sent = len(self.written)
        return CompletionChunk(
            text, finish=self.finish, usage=usage, logprobs=logprobs, token_ids=token_ids
        )

    def _choose(self, logits: torch.Tensor, best: Best | None) -> int:
        """Choose a token: none that ends a blank reply, or with which it opens as it must not."""
        forbidden = list[int]()
        if self._end_bias:
            best = None
            logits = self._end_bias.added(logits, self.written, at_line_start=self._at_line_start)
        while True:
            token = self._sampler.choose(logits, forbidden, best)
            leaves_blank = self._reply.blank and self._leaves_blank(token)
            if not leaves_blank and not (self._banned and self._opens_banned(token)):
                return token
            forbidden.append(token)

    def _opens_banned(self, token: int) -> bool:
        text = self._tokenization.decode_reply(self.ids, [*self.written, token])
        if self._banned and self._banned.forbid(text):
            return True
        if self._banned and self._banned.are_behind(text):
            self._banned = None
        return False

    def _leaves_blank(self, token: int) -> bool:
        if token in self._tokenization.end_of_text:
            return True
        text = self._tokenization.decode_reply(self.ids, [*self.written, token])
        if not text:  # a character that is not whole yet
            return False
        if not text.strip():
            return len(self.written) >= _MAX_BLANK_TOKENS
        reply = reply_decoder(self.request)
        reply.feed(text)
        return reply.ended and reply.ended_blank


class JsonSequence(ReplySequence):
    """A prompt and a reply constrained to a JSON schema.

    Penalties do not apply, since its tokens are not counted: they would punish the very quotes,
    commas and digits that JSON must repeat, and keep the model from closing a string or copying a
    value. Stop strings and the prompt's delimiter do not apply either: the value ends where it is
    complete.
    """

    def __init__(
        self,
        request: CompletionRequest,
        receiver: Receiver,
        tokenization: Tokenization,
        text: JsonText,
    ) -> None:
        super().__init__(request, receiver, tokenization)
        self._text = text

    def step(self, logits: torch.Tensor, best: Best | None = None) -> CompletionChunk:
        """Choose the next token and append those that are forced after it; return their text.

        Where log-probabilities are requested, forced tokens are returned one by one as well, but
        for those that close a text which was cut: these have none.
        """
        text = ""
        logprobs = tuple[TokenLogprob, ...]()
        if not self._text.pending and not self._text.cut:
            self._choose_allowed(logits, best)
        cut = self._text.cut
        while self._text.pending and not logprobs:
            token = self._text.pending.popleft()
            self._write(token)
            text += self._decode(token)
            if not cut:
                logprobs = self._sampler.logprobs(logits, token, self._tokenization.decode)
        self.finish = self.finish or self._text.finish
        return replace(self._chunk(text, logprobs), closing=text if cut else "")

    def draft(self) -> list[int]:
        """Return nothing: what comes next is forced or masked."""
        return []

    def _choose_allowed(self, logits: torch.Tensor, best: Best | None) -> None:
        """Choose a token that the schema allows, or end a complete value."""
        allowed = self._text.allowed(logits.shape[-1], logits.device)
        allowed[list(self._tokenization.end_of_text)] = False
        if self._text.may_end:
            # It ends where the model would rather write something that cannot be part of it.
            token = self._sampler.choose(logits, [], best)
            if not allowed[token]:
                self.finish = "stop"
                return
        else:
            token = self._sampler.choose(logits.masked_fill(~allowed, -torch.inf), [])
        self._text.accept(token)


class ChoiceSequence(PromptSequence):
    """A prompt and the options of a choice, which are scored after it.

    Prompt and option are encoded together, as the prompt of the next request will be. The last
    tokens of the prompt may then merge with an option's first. So that all options are compared
    over the same text, each is scored from where any of them first departs from the prompt alone.

    Attributes:
        tails: For each option, the tokens that are scored: those after ``ids``.
    """

    def __init__(
        self,
        request: CompletionRequest,
        receiver: Receiver,
        tokenization: Tokenization,
        choice: Choice,
    ) -> None:
        super().__init__(request, receiver, tokenization)
        self._choice = choice
        self._prompt_tokens = len(self.ids)
        whole = [tuple(tokenization.encode(request.prompt + option)) for option in choice.options]
        shared = min(min(common_prefix(ids, self.ids), len(ids) - 1) for ids in whole)
        self.ids = self.ids[: max(shared, 1)]
        self.tails = [ids[len(self.ids) :] for ids in whole]
        self._logprobs = list[float]()

    def score(self, logits: torch.Tensor) -> None:
        """Score the next option from the logits before each token of its tail, [tokens, vocab]."""
        tail = torch.tensor(self.tails[len(self._logprobs)], device=logits.device)
        logprobs = logits.gather(-1, tail[:, None])[:, 0] - logits.logsumexp(-1)
        self._logprobs.append(float(logprobs.double().sum()))

    def choose(self) -> CompletionChunk:
        """Return the best option, once all are scored."""
        options, logprobs = self._choice.options, self._logprobs
        biases = self._choice.biases or (0.0,) * len(options)
        best = max(range(len(options)), key=lambda index: logprobs[index] + biases[index])
        ranked = sorted(zip(options, logprobs, strict=True), key=lambda pair: -pair[1])
        written = len(self.ids) + len(self.tails[best]) - self._prompt_tokens
        return CompletionChunk(
            options[best],
            finish="stop",
            usage=Usage(self._prompt_tokens, max(written, 1), self.cached_tokens),
            logprobs=(TokenLogprob(options[best], logprobs[best], tuple(ranked)),),
        )
