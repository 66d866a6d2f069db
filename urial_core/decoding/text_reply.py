"""Assemble a reply from an engine's chunks."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from urial_core.completion import Completion, CompletionChunk, CompletionModel, TokenLogprob
from urial_core.composing import ReplyRequest
from urial_core.decoding.making import Delta, ReplyMaker
from urial_core.decoding.reply_decoder import ReplyDecoder, reply_decoder
from urial_core.replies import Reply, ReplyEnd, TextDelta

__all__ = ["ReplyAssembler"]

_ATTEMPTS = 2
_SECOND_TEMPERATURE = 0.7


class ReplyAssembler(ReplyMaker):
    """Makes the events of a reply in text.

    There is a second attempt, sampled, only where the first ended before it had any text, since no
    user wants an empty answer.
    """

    def __init__(self, model: CompletionModel | None, request: ReplyRequest) -> None:
        super().__init__(model, request)
        self._attempt = 0
        self._done = False
        self._reader: ReplyDecoder
        self._deltas = list[TextDelta]()
        self._logprobs = deque[TokenLogprob]()
        self._owed = 0  # characters given out whose tokens' log-probabilities were not yet

    def next_attempt(self) -> ReplyRequest | None:
        """The request to send now, or None when the reply is done."""
        if self._done:
            return None
        if self._attempt:
            self._end_attempt()
            ended_early = self._reader.ended_blank and self._finish != "length"
            self._done = self._attempt == _ATTEMPTS or not ended_early
            if self._done:
                return None
        self._attempt += 1
        request = self._request
        if self._attempt > 1:
            sampled = request.parameters.replace(
                temperature=max(request.parameters.temperature or 0, _SECOND_TEMPERATURE),
                seed=(request.parameters.seed or 0) + 1,
            )
            request = replace(request, parameters=sampled)
        self._begin_attempt()
        self._reader = reply_decoder(request, may_echo=True)
        self._logprobs.clear()
        return request

    def feed(self, chunk: CompletionChunk) -> list[Delta]:
        """Take a chunk; return the events it completes."""
        self._note(chunk)
        self._logprobs.extend(chunk.logprobs)
        deltas = self._delta(self._reader.feed(chunk.text))
        self.over = self._reader.ended
        return deltas

    def whole(self) -> Reply:
        """Return all of it as one reply."""
        return Reply(
            text=self._text,
            end=self._end(),
            logprobs=tuple(logprob for delta in self._deltas for logprob in delta.logprobs),
        )

    def only(self, completion: Completion) -> Reply:
        """Return the reply that the first attempt's completion makes; there is no second one."""
        self.next_attempt()
        self.feed(completion)
        self._end_attempt()
        return self.whole()

    @property
    def _text(self) -> str:
        return "".join(delta.text for delta in self._deltas)

    def _end_attempt(self) -> None:
        self._unsent = self._delta(self._reader.flush(cut=self._finish == "length"))
        usage = self._usage_of(self._request)
        if usage is not None:
            self._spent = usage if self._spent is None else self._spent + usage

    def _delta(self, text: str) -> list[Delta]:
        if not text:
            return []
        delta = TextDelta(text, self._take_logprobs(len(text)))
        self._deltas.append(delta)
        return [delta]

    def _take_logprobs(self, characters: int) -> tuple[TokenLogprob, ...]:
        """The log-probabilities of the tokens that make up the next characters of the reply.

        Leading whitespace is not part of the reply, nor are the tokens of its end.
        """
        taken = list[TokenLogprob]()
        self._owed += characters
        while self._logprobs and self._owed > 0:
            logprob = self._logprobs.popleft()
            started = bool(taken or self._deltas)
            token = logprob.token if started else logprob.token.lstrip()
            if token or started:
                taken.append(logprob)
            self._owed -= len(token)
        return tuple(taken)

    def _end(self) -> ReplyEnd:
        return ReplyEnd(
            reason=self._reader.end_reason(self._finish),
            stop=self._reader.stop,
            usage=self._spent,
        )
