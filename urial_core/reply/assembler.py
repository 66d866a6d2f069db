"""Assemble a reply from an engine's chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionModel,
    TokenLogprob,
    Usage,
    counted_usage,
)
from urial_core.errors import GenerationError
from urial_core.reply.reader import ReplyReader
from urial_core.reply.values import Reply, ReplyEnd, TextDelta

if TYPE_CHECKING:
    from urial_core.request import Request

__all__ = ["ReplyAssembler"]

_ATTEMPTS = 2
_SECOND_TEMPERATURE = 0.7


class ReplyAssembler:
    """Makes events out of chunks. Pure: the caller moves the chunks, sync or async.

    Ask ``next_attempt`` for the request to send, ``feed`` what comes back, and repeat until it
    returns None. There is a second attempt, sampled, only where the first ended before it had any
    text, since no user wants an empty answer.

    Attributes:
        over: Whether the reply is complete and the engine may be stopped.
    """

    def __init__(self, model: CompletionModel | None, request: Request) -> None:
        """Start a reply.

        Args:
            model: Counts the tokens that the engine does not report; None for nobody.
            request: What is to be replied to.
        """
        self.over = False
        self._model = model
        self._request = request
        self._attempt = 0
        self._done = False
        self._reader: ReplyReader
        self._raw: list[str]
        self._finish: str | None
        self._usage: Usage | None
        self._spent: Usage | None = None
        self._deltas = list[TextDelta]()
        self._unsent = list[TextDelta]()
        self._logprobs = deque[TokenLogprob]()
        self._owed = 0  # characters given out whose tokens' log-probabilities were not yet

    def next_attempt(self) -> Request | None:
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
        self.over = False
        self._reader = request.reader(may_echo=True)
        self._raw, self._finish, self._usage = [], None, None
        self._logprobs.clear()
        return request

    def feed(self, chunk: CompletionChunk) -> list[TextDelta]:
        """Take a chunk; return the events it completes."""
        self._raw.append(chunk.text)
        self._finish = chunk.finish or self._finish
        self._usage = chunk.usage or self._usage
        self._logprobs.extend(chunk.logprobs)
        deltas = self._delta(self._reader.feed(chunk.text))
        self.over = self._reader.ended
        return deltas

    def finish(self) -> list[TextDelta | ReplyEnd]:
        """Return the last events: text held back, if any, and the end."""
        return [*self.held_back(), self._end()]

    def held_back(self) -> list[TextDelta]:
        """Return the last text, known only now that nothing more comes, if any."""
        return self._unsent

    @contextmanager
    def kept_on_failure(self) -> Generator[None]:
        """Within it, a failing model's error takes the text written so far with it."""
        try:
            yield
        except GenerationError as error:
            error.text = self._text
            raise

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
        self._account()

    def _delta(self, text: str) -> list[TextDelta]:
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

    def _account(self) -> None:
        usage = self._usage
        if usage is None and self._model is not None and self._model.counts_exactly:
            usage = counted_usage(self._model, self._request.prompt, "".join(self._raw))
        if usage is not None:
            self._spent = usage if self._spent is None else self._spent + usage

    def _end(self) -> ReplyEnd:
        return ReplyEnd(
            reason=self._reader.end_reason(self._finish),
            stop=self._reader.stop,
            usage=self._spent,
        )
