"""Request coalescing: several calls that LangChain makes one by one become one batch of the model.

LangChain invokes a chat model once per input, each time with its own callbacks, cache look-up and
rate limit. Those stay as they are; only the model's work is put together: each call brings its
requests and waits, and once all have asked or ended, all requests are answered as one batch. A
model that schedules requests itself gets each as it comes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from itertools import islice
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

from urial_core import CompletionModel, Reply
from urial_core.composing import ReplyRequest
from urial_core.errors import UrialError

__all__ = ["aanswer", "abatch", "answer", "batch"]

_MAX_CONCURRENCY = 64
"""Inputs that are answered together, or at a time, where no ``max_concurrency`` is set."""

_T = TypeVar("_T")
_Asked = tuple[Sequence[ReplyRequest], Future[list[Reply]]]


class _CoalescedBatch:
    """Requests of several calls, answered together once each call has asked or ended."""

    def __init__(self, numbers: Iterable[int]) -> None:
        """Expect the calls with these numbers; any other has to do its own work."""
        self._outstanding = set(numbers)
        self._asked = dict[int, _Asked]()
        self._complete = Future[None]()
        self._error: BaseException | None = None
        self._work: Any = None
        self._lock = threading.Lock()

    def ask(
        self, number: int, requests: Sequence[ReplyRequest], work: Any
    ) -> Future[list[Reply]] | None:
        """Add the requests of a call and what can answer them; None if it is not expected."""
        future = Future[list[Reply]]()
        with self._lock:
            if number not in self._outstanding:
                return None
            self._work = work
            self._asked[number] = (requests, future)
            if self._error is not None:
                future.set_exception(self._error)
        self.leave(number)
        return future

    def leave(self, number: int) -> None:
        """Expect nothing more of a call."""
        with self._lock:
            self._outstanding.discard(number)
            if not self._outstanding and not self._complete.done():
                self._complete.set_result(None)

    def run(self) -> None:
        """Wait for all calls, and answer them."""
        with self._failing_calls():
            self._complete.result()
            if asked := self._not_cancelled():
                _resolve(asked, self._work(_requests(asked)))

    async def arun(self) -> None:
        """As ``run``, without blocking the event loop."""
        with self._failing_calls():
            await asyncio.wrap_future(self._complete)
            if asked := self._not_cancelled():
                _resolve(asked, await self._work(_requests(asked)))

    def _not_cancelled(self) -> list[_Asked]:
        asked = [self._asked[number] for number in sorted(self._asked)]
        return [(own, future) for own, future in asked if future.set_running_or_notify_cancel()]

    @contextmanager
    def _failing_calls(self) -> Generator[None]:
        """Give each call the error that ends the block, also those that have yet to ask."""
        try:
            yield
        except BaseException as error:
            with self._lock:
                self._error = error
                for _, future in self._asked.values():
                    if not future.done():
                        future.set_exception(error)
            if not isinstance(error, Exception):
                raise


def _requests(asked: Sequence[_Asked]) -> list[ReplyRequest]:
    return [request for own, _ in asked for request in own]


def _resolve(asked: Sequence[_Asked], replies: Iterable[Reply]) -> None:
    """Give each call its replies."""
    rest = iter(replies)
    for own, future in asked:
        future.set_result(list(islice(rest, len(own))))


_member: ContextVar[tuple[_CoalescedBatch, int] | None] = ContextVar("member", default=None)
"""The batch that the present call belongs to, and its number there."""


def answer(
    requests: Sequence[ReplyRequest], work: Callable[[Sequence[ReplyRequest]], list[Reply]]
) -> list[Reply]:
    """Answer requests, together with those of the same batch.

    Args:
        requests: The requests of this call.
        work: Answers requests as one batch.
    """
    member = _member.get()
    future = member and member[0].ask(member[1], requests, work)
    return future.result() if future else work(requests)


async def aanswer(
    requests: Sequence[ReplyRequest],
    work: Callable[[Sequence[ReplyRequest]], Awaitable[list[Reply]]],
) -> list[Reply]:
    """As ``answer``, without blocking the event loop."""
    member = _member.get()
    future = member and member[0].ask(member[1], requests, work)
    return await (asyncio.wrap_future(future) if future else work(requests))


def batch(
    model: CompletionModel,
    invoke: Callable[[int, RunnableConfig], _T],
    configs: Sequence[RunnableConfig],
) -> list[_T]:
    """Invoke for each input, side by side.

    Args:
        model: The model. Where it schedules requests itself, the next input begins when one ends;
            else as many as may run at a time are answered as one batch, and only then the next.
        invoke: Takes an input's number and its config.
        configs: The inputs' configs; ``max_concurrency`` of the first is the most at a time.
    """
    outputs = list[_T]()
    coalesce = _coalesces(model)
    for numbers in _groups(configs, coalesce=coalesce):
        together = _CoalescedBatch(numbers if coalesce else ())

        def call(number: int, together: _CoalescedBatch = together) -> _T:
            _member.set((together, number))
            try:
                return invoke(number, configs[number])
            finally:
                together.leave(number)

        with ThreadPoolExecutor(max_workers=_max_concurrency(configs)) as threads:
            calls = [threads.submit(copy_context().run, call, number) for number in numbers]
            try:
                together.run()
                outputs += [call.result() for call in calls]
            finally:
                for waiting in calls:
                    waiting.cancel()
    return outputs


async def abatch(
    model: CompletionModel,
    ainvoke: Callable[[int, RunnableConfig], Awaitable[_T]],
    configs: Sequence[RunnableConfig],
    *,
    return_exceptions: bool,
) -> list[_T]:
    """As ``batch``; when one fails, those that run or wait are cancelled."""
    outputs = list[_T]()
    coalesce = await asyncio.to_thread(_coalesces, model)
    free = asyncio.Semaphore(_max_concurrency(configs))
    for numbers in _groups(configs, coalesce=coalesce):
        together = _CoalescedBatch(numbers if coalesce else ())

        async def call(number: int, together: _CoalescedBatch = together) -> _T:
            async with free:
                _member.set((together, number))
                try:
                    return await ainvoke(number, configs[number])
                finally:
                    together.leave(number)

        calls = [asyncio.ensure_future(call(number)) for number in numbers]
        work = asyncio.ensure_future(together.arun())
        try:
            outputs += await asyncio.gather(  # type: ignore[arg-type] # as Runnable.abatch does
                *calls, return_exceptions=return_exceptions
            )
        finally:
            for task in (*calls, work):
                task.cancel()
    return outputs


def _coalesces(model: CompletionModel) -> bool:
    """Return whether to put requests together, since the model does not schedule them."""
    try:
        return not model.features.schedules_requests
    except UrialError:  # unreachable: each input reports it where its caller expects errors
        return True


def _groups(configs: Sequence[RunnableConfig], *, coalesce: bool) -> Iterator[range]:
    """Yield the numbers of the inputs that run side by side."""
    size = _max_concurrency(configs) if coalesce else max(len(configs), 1)
    for start in range(0, len(configs), size):
        yield range(start, min(start + size, len(configs)))


def _max_concurrency(configs: Sequence[RunnableConfig]) -> int:
    return (configs[0].get("max_concurrency") if configs else None) or _MAX_CONCURRENCY
