"""Run a blocking iterator in another thread, for engines that are not async or not thread-safe.

The thread never waits for its consumer: what it makes is queued. So an engine that allows one
request at a time can be asked again from within the loop over its own stream.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

__all__ = ["aiterate_in_thread", "iterate_in_thread", "worker_for"]

_T = TypeVar("_T")


class _Done:
    """The end of the items, and the error that ended them, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Work(Generic[_T]):
    """Takes items from an iterable until told to stop, then closes it."""

    def __init__(
        self, start: Callable[[], Iterable[_T]], put: Callable[[_T | _Done], object]
    ) -> None:
        self._start = start
        self._put = put
        self._left = threading.Event()

    def leave(self) -> None:
        """Tell the work that nobody wants more."""
        self._left.set()

    def __call__(self) -> None:
        if self._left.is_set():
            return
        try:
            items = self._start()
            try:
                for item in items:
                    self._put(item)
                    if self._left.is_set():
                        break
            finally:
                if isinstance(items, Generator):
                    items.close()
        except BaseException as error:
            self._put(_Done(error))
        else:
            self._put(_Done())


def iterate_in_thread(executor: Executor, start: Callable[[], Iterable[_T]]) -> Generator[_T]:
    """Yield what ``start()`` yields, made by the executor; leaving early ends the work."""
    queue = SimpleQueue[_T | _Done]()
    work = _Work(start, queue.put)
    executor.submit(work)
    try:
        while not isinstance(item := queue.get(), _Done):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        work.leave()


async def aiterate_in_thread(
    executor: Executor | None, start: Callable[[], Iterable[_T]]
) -> AsyncGenerator[_T]:
    """As ``iterate_in_thread``, without blocking the event loop; None is the loop's executor."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue[_T | _Done]()

    def put(item: _T | _Done) -> None:
        if not loop.is_closed():  # else nobody is left to hear
            loop.call_soon_threadsafe(queue.put_nowait, item)

    work = _Work(start, put)
    loop.run_in_executor(executor, work)
    try:
        while not isinstance(item := await queue.get(), _Done):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        work.leave()


class _Worker(ThreadPoolExecutor):
    """The one thread that may call an object whose calls must not overlap."""

    def __init__(self, owned: object) -> None:
        super().__init__(max_workers=1, thread_name_prefix="urial-llm")
        self.owned = owned  # keeps the id in `_WORKERS` from being given to another object


_WORKERS = WeakValueDictionary[int, _Worker]()


def worker_for(owned: object) -> Executor:
    """The one thread for calls of an object, the same however often it is wrapped."""
    worker = _WORKERS.get(id(owned)) or _Worker(owned)
    _WORKERS[id(owned)] = worker
    return worker
