"""A reply that takes several steps, each a request whose page holds what the last ones wrote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from urial_core.completion import CompletionChunk, CompletionModel, Usage
from urial_core.composing import ReplyRequest, format_of
from urial_core.decoding.echo import EchoDecoder
from urial_core.decoding.making import Delta, ReplyMaker
from urial_core.structured.constraints import Constraint

__all__ = ["SteppedReply", "Steps"]

Steps = Generator["ReplyRequest", None, None]
"""What is asked for next, until the reply is done."""


class SteppedReply(ReplyMaker, ABC):
    """Makes events out of the chunks of several requests.

    A subclass writes its steps down in order, in ``_run``.

    Usage: the tokens read are the page's, once, though every step reads it again: a caller pays for
    those in time where nothing is kept computed, but it is one page. Tokens written are all steps'.
    """

    _model: CompletionModel

    def __init__(self, model: CompletionModel, request: ReplyRequest, *, live: bool) -> None:
        """Start a reply.

        Args:
            model: The model.
            request: What is asked of it.
            live: Whether somebody reads along, so that what is given out stands.
        """
        super().__init__(model, request)
        self._live = live
        self._written = ""  # behind the request's page, by the model and by us
        self._discarded = 0  # how many characters of it are no part of the reply
        self._steps = self._run()
        self._take: Callable[[CompletionChunk], Sequence[Delta]]
        self._asked: ReplyRequest | None = None
        self._is_counted = True  # whether the step under way counts as the reply's usage

    def next_attempt(self) -> ReplyRequest | None:
        """The request to send now, or None when the reply is done."""
        self._account()
        self._asked = next(self._steps, None)
        if self._asked is not None:
            self._begin_attempt()
        return self._asked

    def feed(self, chunk: CompletionChunk) -> list[Delta]:
        """Take a chunk; return the events it completes."""
        self._note(chunk)
        unsent, self._unsent = self._unsent, []
        return [*unsent, *self._take(chunk)]

    @abstractmethod
    def _run(self) -> Steps:
        """Ask for one thing after the other."""

    def _read(
        self, request: ReplyRequest, take: Callable[[str, CompletionChunk], Sequence[Delta]]
    ) -> Steps:
        """Ask for something and pass its text on, without an echo of the page."""
        echo = EchoDecoder(request.prompt)
        self._take = lambda chunk: take(echo.feed(chunk.text), chunk)
        yield request
        if rest := echo.flush():
            self._unsent += take(rest, CompletionChunk(""))

    def _step(self, *, constraint: Constraint | None = None) -> ReplyRequest:
        """A request for structure, not for text: nothing penalised, greedy where nobody says."""
        parameters = replace(
            self._request.parameters,
            temperature=self._request.parameters.temperature or 0.0,
            repetition_penalty=1.0,
            frequency_penalty=0.0,
            presence_penalty=0.0,
            stop=(),
            max_tokens=max(self._tokens_left, 1),
        )
        return replace(
            self._request,
            prompt=self._request.prompt + self._written,
            parameters=parameters,
            stop=format_of(self._request).stop,
            constraint=constraint,
        )

    @property
    def _tokens_left(self) -> int:
        """Tokens that the reply may still take; what we write on the page is taken from them.

        An attempt that failed is not; it takes from the window only.
        """
        count = self._model.count_tokens
        kept = self._written[self._discarded :]
        left = self._request.max_tokens - (count(kept) if kept else 0)
        window = self._model.context_window if self._discarded else None
        if window is None:
            return left
        return min(left, window - count(self._request.prompt + self._written))

    def _account(self) -> None:
        if self._asked is None or not self._is_counted:
            return
        usage = self._usage_of(self._asked)
        if usage is not None and self._spent is not None:
            self._spent += Usage(0, usage.output_tokens)
        else:
            self._spent = usage or self._spent
        self._asked = None
