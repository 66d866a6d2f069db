"""Blocking engines as completion models: worker threads, and a base class for their models.

A worker thread never waits for its consumer: what it produces is queued. So an engine that allows
one call at a time can be called again from within the loop over its own stream.
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import TypeVar
from weakref import WeakValueDictionary

from urial_core.completion import Completion, CompletionChunk, CompletionModel, CompletionRequest

__all__ = [
    "SingleRequestModel",
    "aiterate_in_thread",
    "from_thread",
    "iterate_in_thread",
    "worker_for",
]

_T = TypeVar("_T")


class _End:
    """The end of the items, and the error that ended them, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _produce(
    start: Callable[[], Generator[_T]],
    put: Callable[[_T | _End], object],
    cancelled: threading.Event,
) -> None:
    """Put the items of ``start()`` in a queue until cancelled, then close it."""
    try:
        if not cancelled.is_set():
            with closing(start()) as items:
                for item in items:
                    put(item)
                    if cancelled.is_set():
                        break
    except BaseException as error:  # noqa: BLE001 - raised again in the consumer
        put(_End(error))
    else:
        put(_End())


def iterate_in_thread(executor: Executor, start: Callable[[], Generator[_T]]) -> Generator[_T]:
    """Yield the items of ``start()``, produced by the executor; closing early cancels that."""
    queue = SimpleQueue[_T | _End]()
    cancelled = threading.Event()
    executor.submit(_produce, start, queue.put, cancelled)
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        cancelled.set()


async def aiterate_in_thread(
    executor: Executor | None, start: Callable[[], Generator[_T]]
) -> AsyncGenerator[_T]:
    """As ``iterate_in_thread``, without blocking the event loop; None is the loop's executor."""
    queue = asyncio.Queue[_T | _End]()
    cancelled = threading.Event()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(executor, _produce, start, from_thread(queue), cancelled)
    try:
        while not isinstance(item := await queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        cancelled.set()


class _Worker(ThreadPoolExecutor):
    """The one thread that may call an object whose calls must not overlap."""

    def __init__(self, owner: object) -> None:
        super().__init__(max_workers=1, thread_name_prefix="urial-llm")
        self.owner = owner  # keeps the id in `_WORKERS` from being reused for another object


_WORKERS = WeakValueDictionary[int, _Worker]()


def worker_for(owner: object) -> Executor:
    """Return the one thread for calls of an object, the same however often it is wrapped."""
    worker = _WORKERS.get(id(owner)) or _Worker(owner)
    _WORKERS[id(owner)] = worker
    return worker


class SingleRequestModel(CompletionModel):
    """A completion model over an engine that completes one prompt per call.

    A subclass implements ``complete_one`` and ``stream_one``, which block; where its engine is
    async too, it implements ``acomplete_one`` and ``astream_one`` and sets ``is_async``.

    Attributes:
        worker: The one thread for calls that must not overlap; None where they may.
        is_async: Whether the engine has async methods of its own.
    """

    worker: Executor | None = None
    is_async: bool = False

    @abstractmethod
    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a prompt, blocking."""

    @abstractmethod
    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion, blocking."""

    async def acomplete_one(self, request: CompletionRequest) -> Completion:
        """As ``complete_one``; for engines that are async."""
        raise NotImplementedError

    def astream_one(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream_one``; for engines that are async."""
        raise NotImplementedError

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts, one after the other."""
        if self.worker is None:
            return [self.complete_one(request) for request in requests]
        return list(self.worker.map(self.complete_one, requests))

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts, concurrently where calls may overlap."""
        if self.is_async:
            return list(await asyncio.gather(*map(self.acomplete_one, requests)))
        loop = asyncio.get_running_loop()
        calls = (
            loop.run_in_executor(self.worker, self.complete_one, request) for request in requests
        )
        return list(await asyncio.gather(*calls))

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion."""
        if self.worker is None:
            return self.stream_one(request)
        return iterate_in_thread(self.worker, lambda: self.stream_one(request))

    def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        if self.is_async:
            return self.astream_one(request)
        return aiterate_in_thread(self.worker, lambda: self.stream_one(request))


def from_thread(queue: asyncio.Queue[_T]) -> Callable[[_T], object]:
    """Return a function with which another thread puts items into a queue of this event loop."""
    loop = asyncio.get_running_loop()

    def put(item: _T) -> None:
        with suppress(RuntimeError):  # the loop is closed: there is no consumer left
            loop.call_soon_threadsafe(queue.put_nowait, item)

    return put
