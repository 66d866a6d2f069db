"""A reply in text."""

from __future__ import annotations

import logging
from dataclasses import replace

from urial_core.completion import Completion, CompletionChunk, Usage
from urial_core.composing import ReplyRequest
from urial_core.decoding.reply_decoder import reply_decoder
from urial_core.decoding.steps import CompletionReader, ReplySteps, Steps, total_usage
from urial_core.decoding.token_spans import TokenSpans
from urial_core.parameters import GenerationParameters
from urial_core.replies import Reply, ReplyEnd, TextDelta

__all__ = ["TextReply", "decode_completion", "text_reply"]

logger = logging.getLogger(__name__)

_RETRY_TEMPERATURE = 0.7
_RETRY_SEED = 1 << 20
"""The bit that a retry's seed differs in: far from the seeds of a request's other samples."""


def text_reply(request: ReplyRequest) -> ReplySteps:
    """Write a reply in text.

    One that ends before it has any text is retried once, sampled: greedy decoding would give the
    same again, and no user wants an empty answer. Where both begin with another turn of the
    message's template, the reply stays empty, since it has no answer; a warning is logged.
    """
    attempt = TextReply(request)
    usage = yield from _write(attempt, request)
    if not attempt.is_blank:
        return attempt.reply(usage)
    retried = replace(request, parameters=_retry_parameters(request.parameters))
    retry = TextReply(retried)
    more = yield from _write(retry, retried)
    reply = retry.reply(total_usage([usage, more]))
    if retry.is_blank and reply.end.reason == "template":
        logger.warning(
            "The reply is empty: twice, the model began with another turn of the message's text "
            "template. If it is the answer, set stop_at_template=False."
        )
    return replace(reply, end=replace(reply.end, attempts=2))


def _retry_parameters(parameters: GenerationParameters) -> GenerationParameters:
    """Return how to sample again: randomly without a seed, but repeatably after greedy decoding."""
    temperature, seed = parameters.temperature or 0.0, parameters.seed
    if seed is not None:
        seed ^= _RETRY_SEED
    elif not temperature:
        seed = 1
    return parameters.replace(temperature=max(temperature, _RETRY_TEMPERATURE), seed=seed)


def decode_completion(request: ReplyRequest, completion: Completion) -> Reply:
    """Return the reply that one completion makes, without a retry."""
    reply = TextReply(request)
    reply.feed(completion)
    reply.flush(completion.finish)
    return reply.reply(completion.usage)


def _write(attempt: TextReply, request: ReplyRequest) -> Steps[Usage | None]:
    reader = CompletionReader(request)
    while not attempt.ended and (chunk := (yield from reader.read())) is not None:
        yield from attempt.feed(chunk)
    usage = yield from reader.end()
    yield from attempt.flush(reader.finish)
    return usage


class TextReply:
    """Decodes one completion into a reply's text, each piece with its tokens' log-probabilities."""

    def __init__(self, request: ReplyRequest) -> None:
        self._decoder = reply_decoder(request)
        self._finish: str | None = None
        self._deltas = list[TextDelta]()
        self._tokens = TokenSpans()

    @property
    def ended(self) -> bool:
        """Whether the reply is over and nothing more need be generated."""
        return self._decoder.ended

    @property
    def is_blank(self) -> bool:
        """Whether the reply ended without text, by itself rather than at a limit or a stop.

        An engine that went on to its limit behind the reply's end does not make that a limit's.
        """
        by_itself = self._decoder.ended or self._finish != "length"
        return self._decoder.ended_blank and by_itself

    def feed(self, chunk: CompletionChunk, skipped: int = 0) -> list[TextDelta]:
        """Take a chunk; return what it adds to the reply.

        Args:
            chunk: The chunk.
            skipped: Characters at its start that precede the reply: a header.
        """
        self._tokens.feed(chunk.text, chunk.logprobs)
        self._tokens.skip(skipped)
        return self._emit(self._decoder.feed(chunk.text[skipped:]))

    def flush(self, finish: str | None) -> list[TextDelta]:
        """Return what was held back, now that the engine ended for the reason given."""
        self._finish = finish
        return self._emit(self._decoder.flush(cut=finish == "length"))

    def reply(self, usage: Usage | None) -> Reply:
        """Return the whole reply."""
        return Reply(
            text="".join(delta.text for delta in self._deltas),
            end=ReplyEnd(
                self._decoder.end_reason(self._finish), stop=self._decoder.stop, usage=usage
            ),
            logprobs=tuple(logprob for delta in self._deltas for logprob in delta.logprobs),
        )

    def _emit(self, text: str) -> list[TextDelta]:
        if not text:
            return []
        if not self._deltas:
            self._tokens.skip(self._decoder.skipped)
        delta = TextDelta(text, self._tokens.take(text))
        self._deltas.append(delta)
        return [delta]
