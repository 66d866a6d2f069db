"""Calls: requests that a caller waits for, and how their chunks reach it.

The worker generates; callers are other threads, or event loops. A caller that is woken for each
token of each reply keeps Python, and so the worker, from the next step. Whoever wants a whole
completion is therefore woken once, at its end. Streams get their first token at once, and then the
chunks of a step as one, at its end; of many streams, each gets longer chunks where the engine is
fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from urial_core.completion import Completion, CompletionChunk, CompletionRequest, joined
from urial_core.errors import GenerationError, UrialError

__all__ = ["Call", "Deliveries", "Item"]

_SECONDS_PER_CHUNK = 0.001
"""Least time for each stream between two deliveries to all: what a framework takes for a chunk."""

Item = tuple[int, CompletionChunk | Exception]
"""The number of a request among those of its call, and its next chunk or its error."""


@dataclass(eq=False, slots=True)
class _Receiver:
    """Takes a request's chunks from the engine, and passes them to the caller; for the worker only.

    Attributes:
        cancelled: Whether nobody waits any longer; another thread may set it.
    """

    number: int
    request: CompletionRequest
    put: Callable[[Item], object]
    deliveries: Deliveries | None
    cancelled: bool = False
    _held: list[CompletionChunk] = field(default_factory=list)
    _begun: bool = False
    _due: float = 0.0

    def receive(self, item: CompletionChunk | Exception) -> None:
        """Take the next chunk, or the error that ended the request."""
        if isinstance(item, Exception):
            self._pass_on()
            self.put((self.number, item))
            return
        self._held.append(item)
        if item.finish is not None or (self.deliveries is not None and not self._begun):
            self._begun = True
            self._pass_on()
        elif self.deliveries is not None and len(self._held) == 1:
            self.deliveries.add(self)

    def deliver(self, now: float, interval: float) -> bool:
        """Pass on what is held, if its time has come; return whether nothing is held."""
        if now >= self._due:
            self._pass_on()
            self._due = now + interval
        return not self._held

    def _pass_on(self) -> None:
        if self._held:
            self.put((self.number, joined(self._held)))
            self._held.clear()


class Deliveries:
    """The streams that hold chunks for their callers; for the worker only."""

    def __init__(self) -> None:
        self._holding = list[_Receiver]()

    def add(self, receiver: _Receiver) -> None:
        """Add a stream that holds a chunk."""
        self._holding.append(receiver)

    def deliver(self) -> None:
        """Deliver what is due after a step; a single stream's chunks always are."""
        if not self._holding:
            return
        now = time.monotonic()
        interval = _SECONDS_PER_CHUNK * (len(self._holding) - 1)
        self._holding = [one for one in self._holding if not one.deliver(now, interval)]


class Call:
    """Requests that a caller waits for, and their chunks so far.

    Attributes:
        receivers: One for each request.
        unfinished: How many of the requests are not finished.
    """

    def __init__(
        self,
        model: str,
        requests: Sequence[CompletionRequest],
        put: Callable[[Item], object],
        deliveries: Deliveries | None = None,
    ) -> None:
        """Begin a call.

        Args:
            model: The model's name, for errors.
            requests: The requests.
            put: Passes an item to the caller.
            deliveries: Those of the worker, for a stream; None to wait for whole completions.
        """
        self.receivers = [
            _Receiver(number, request, put, deliveries) for number, request in enumerate(requests)
        ]
        self.unfinished = len(requests)
        self._model = model
        self._chunks = [list[CompletionChunk]() for _ in requests]

    def take(self, item: Item) -> CompletionChunk:
        """Keep a chunk and return it, or raise the error that came instead.

        Raises:
            UrialError: The request failed.
        """
        number, chunk = item
        if isinstance(chunk, UrialError):
            raise chunk
        if isinstance(chunk, Exception):
            raise GenerationError(f"{self._model} failed during generation: {chunk}") from chunk
        self._chunks[number].append(chunk)
        self.unfinished -= chunk.finish is not None
        return chunk

    def completions(self) -> list[Completion]:
        """Join each request's chunks; the last holds its finish and usage."""
        return [joined(chunks) for chunks in self._chunks]

    def cancel(self) -> None:
        """Report to the engine that nobody waits for the requests."""
        for receiver in self.receivers:
            receiver.cancelled = True
