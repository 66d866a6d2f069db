"""Making a reply: what all kinds of replies share, whether they take one request or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager

from urial_core.completion import CompletionChunk, CompletionModel, CompletionRequest, Usage
from urial_core.composing import ReplyRequest
from urial_core.errors import GenerationError
from urial_core.replies import Reply, ReplyEnd, TextDelta, ToolCallDelta

__all__ = ["Delta", "ReplyMaker"]

Delta = TextDelta | ToolCallDelta
"""A piece of a reply."""


class ReplyMaker(ABC):
    """Makes events out of chunks. Pure: the caller moves the chunks, sync or async.

    Ask ``next_attempt`` for the request to send, ``feed`` what comes back, and repeat until it
    returns None; then ask for the ``finish``, or for the ``whole``.

    Attributes:
        over: Whether the attempt under way is complete and the engine may be stopped.
    """

    def __init__(self, model: CompletionModel | None, request: ReplyRequest) -> None:
        """Start a reply.

        Args:
            model: Counts the tokens that the engine does not report; None for nobody.
            request: What is to be replied to.
        """
        self.over = False
        self._model = model
        self._request = request
        self._unsent = list[Delta]()
        self._raw = list[str]()
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._spent: Usage | None = None

    @abstractmethod
    def next_attempt(self) -> ReplyRequest | None:
        """The request to send now, or None when the reply is done."""

    @abstractmethod
    def feed(self, chunk: CompletionChunk) -> list[Delta]:
        """Take a chunk; return the events it completes."""

    def finish(self) -> list[Delta | ReplyEnd]:
        """Return the last events: what was held back, if anything, and the end."""
        return [*self.held_back(), self._end()]

    def held_back(self) -> list[Delta]:
        """Return what was known only now that nothing more comes, if anything."""
        return self._unsent

    @abstractmethod
    def whole(self) -> Reply:
        """Return all of it as one reply."""

    @contextmanager
    def kept_on_failure(self) -> Generator[None]:
        """Within it, a failing model's error takes the text written so far with it."""
        try:
            yield
        except GenerationError as error:
            error.text = self._text
            raise

    @property
    @abstractmethod
    def _text(self) -> str:
        """The reply's text so far."""

    @abstractmethod
    def _end(self) -> ReplyEnd:
        """The reply's end."""

    def _begin_attempt(self) -> None:
        """Forget what came back for the last attempt."""
        self.over = False
        self._raw, self._finish, self._usage = [], None, None

    def _note(self, chunk: CompletionChunk) -> None:
        """Keep what a chunk tells beside its text."""
        self._raw.append(chunk.text)
        self._finish = chunk.finish or self._finish
        self._usage = chunk.usage or self._usage

    def _usage_of(self, attempt: CompletionRequest) -> Usage | None:
        """Tokens of the attempt: those told by the engine, or counted with its own tokenizer."""
        if self._usage is not None or self._model is None or self._model.tokenizer is None:
            return self._usage
        begin_of_text = self._model.count_tokens("")  # which the prompt alone begins with
        written = self._model.count_tokens("".join(self._raw)) - begin_of_text
        return Usage(self._model.count_tokens(attempt.prompt), written)
