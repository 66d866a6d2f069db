"""A reply that takes several steps, each a request whose page holds what the last ones wrote."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from urial_core.completion import CompletionChunk, CompletionModel, Usage, counted_usage
from urial_core.constraint import Constraint
from urial_core.errors import GenerationError
from urial_core.reply.echo import PromptEcho
from urial_core.reply.values import Reply, ReplyEnd, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from urial_core.request import Request

__all__ = ["Delta", "SteppedReply", "Steps"]

Delta = TextDelta | ToolCallDelta
"""A piece of a reply."""
Steps = Generator["Request", None, None]
"""What is asked for next, until the reply is done."""


class SteppedReply(ABC):
    """Makes events out of the chunks of several requests. Pure, as ``ReplyAssembler`` is.

    A subclass writes its steps down in order, in ``_run``.

    Usage: the tokens read are the page's, once, though every step reads it again: a caller pays for
    those in time where nothing is kept computed, but it is one page. Tokens written are all steps'.

    Attributes:
        over: Whether the step under way is complete and the engine may be stopped.
    """

    def __init__(self, model: CompletionModel, request: Request, *, live: bool) -> None:
        """Start a reply.

        Args:
            model: The model.
            request: What is asked of it.
            live: Whether somebody reads along, so that what is given out stands.
        """
        self.over = False
        self._live = live
        self._model = model
        self._request = request
        self._written = ""  # behind the request's page, by the model and by us
        self._finish: str | None = None
        self._steps = self._run()
        self._take: Callable[[CompletionChunk], Sequence[Delta]]
        self._unsent = list[Delta]()
        self._asked: Request | None = None
        self._is_counted = True  # whether the step under way counts as the reply's usage
        self._raw: list[str]
        self._usage: Usage | None
        self._spent: Usage | None = None

    def next_attempt(self) -> Request | None:
        """The request to send now, or None when the reply is done."""
        self._account()
        self._asked = next(self._steps, None)
        if self._asked is not None:
            self.over = False
            self._raw, self._finish, self._usage = [], None, None
        return self._asked

    def feed(self, chunk: CompletionChunk) -> list[Delta]:
        """Take a chunk; return the events it completes."""
        self._raw.append(chunk.text)
        self._finish = chunk.finish or self._finish
        self._usage = chunk.usage or self._usage
        unsent, self._unsent = self._unsent, []
        return [*unsent, *self._take(chunk)]

    def finish(self) -> list[Delta | ReplyEnd]:
        """Return the last events: what was held back, if anything, and the end."""
        return [*self.held_back(), self._end()]

    def held_back(self) -> list[Delta]:
        """Return what was known only now that nothing more comes, if anything."""
        return self._unsent

    @contextmanager
    def kept_on_failure(self) -> Generator[None]:
        """Within it, a failing model's error takes the text written so far with it."""
        try:
            yield
        except GenerationError as error:
            error.text = self._text
            raise

    @abstractmethod
    def whole(self) -> Reply:
        """Return all of it as one reply."""

    @abstractmethod
    def _run(self) -> Steps:
        """Ask for one thing after the other."""

    @property
    @abstractmethod
    def _text(self) -> str:
        """The reply's text so far."""

    @abstractmethod
    def _end(self) -> ReplyEnd:
        """The reply's end."""

    def _read(
        self, request: Request, take: Callable[[str, CompletionChunk], Sequence[Delta]]
    ) -> Steps:
        """Ask for something and pass its text on, without an echo of the page."""
        echo = PromptEcho(request.prompt)
        self._take = lambda chunk: take(echo.feed(chunk.text), chunk)
        yield request
        if rest := echo.flush():
            self._unsent += take(rest, CompletionChunk(""))

    def _step(self, *, constraint: Constraint | None = None) -> Request:
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
            stop=self._request.frame.stop,
            constraint=constraint,
        )

    @property
    def _tokens_left(self) -> int:
        """Tokens that the reply may still take; what we write on the page is taken from them."""
        used = self._model.count_tokens(self._written) if self._written else 0
        return self._request.max_tokens - used

    def _account(self) -> None:
        if self._asked is None or not self._is_counted:
            return
        usage = self._usage
        if usage is None and self._model.counts_exactly:
            usage = counted_usage(self._model, self._asked.prompt, "".join(self._raw))
        if usage is not None and self._spent is not None:
            self._spent += Usage(0, usage.output_tokens)
        else:
            self._spent = usage or self._spent
        self._asked = None
