"""Batching: gather the calls of one ``batch`` and answer them together.

LangChain's own ``batch`` invokes the model once per input, each with its callbacks, cache look-up
and rate limit. Those stay as they are; only the model's work is put together: each invocation
brings its requests here and waits, and when the last one has come, all are answered as one batch.

A model that schedules requests itself gets each as it comes. There, when one call ends, the next
begins, so that as many are under way as may be.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from urial_core import Reply
from urial_core.composing import ReplyRequest

__all__ = [
    "Gathering",
    "aanswer",
    "abatch_each",
    "abatch_together",
    "acall_of",
    "answer",
    "batch_each",
    "batch_together",
    "call_of",
]

_MOST_TOGETHER = 64
"""Inputs that are answered together, or at a time, where no ``max_concurrency`` is set."""


class Gathering:
    """The calls of one batch. Each asks once or leaves; the last to do so sets the work going."""

    def __init__(self, calls: int) -> None:
        """Expect this many calls."""
        self.work: Any = None
        self._outstanding = calls
        self._asked = dict[int, tuple[Sequence[ReplyRequest], Future[list[Reply]]]]()
        self._lock = threading.Lock()

    @property
    def requests(self) -> list[ReplyRequest]:
        """All requests of all calls, in the calls' order, whoever came first."""
        return [request for requests, _ in self._in_order() for request in requests]

    def ask(self, number: int, requests: Sequence[ReplyRequest], work: Any) -> Future[list[Reply]]:
        """Bring the requests of a call, by its number, and what can answer them."""
        future = Future[list[Reply]]()
        with self._lock:
            self.work = work
            self._asked[number] = (requests, future)
        return future

    def arrived(self) -> bool:
        """Count a call off; say whether it was the last and there is something to answer."""
        with self._lock:
            self._outstanding -= 1
            return self._outstanding == 0 and bool(self._asked)

    def settle(self, replies: Sequence[Reply]) -> None:
        """Hand each call its replies, if it still waits for them."""
        rest = iter(replies)
        for requests, future in self._in_order():
            own = [next(rest) for _ in requests]
            if not future.done():
                future.set_result(own)

    def fail(self, error: BaseException) -> None:
        """Hand each call the error that ended the work; nothing is left to answer."""
        asked, self._asked = self._in_order(), {}
        for _, future in asked:
            if not future.done():
                future.set_exception(error)

    def _in_order(self) -> list[tuple[Sequence[ReplyRequest], Future[list[Reply]]]]:
        return [self._asked[number] for number in sorted(self._asked)]


class _Call:
    """One call of a gathering, and whether it has yet to arrive. Copied contexts share it."""

    def __init__(self, gathering: Gathering, number: int) -> None:
        self.number = number
        self._gathering = gathering
        self._due = True

    def arrive(self) -> Gathering | None:
        """The gathering, the first time; None afterwards."""
        due, self._due = self._due, False
        return self._gathering if due else None


_call: ContextVar[_Call | None] = ContextVar("call", default=None)


@contextmanager
def call_of(gathering: Gathering, number: int) -> Generator[None]:
    """Run one of the gathering's calls; it leaves at the end if it has not asked."""
    call = _Call(gathering, number)
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)
        if call.arrive() is not None:
            _work_if_last(gathering)


@asynccontextmanager
async def acall_of(gathering: Gathering, number: int) -> AsyncGenerator[None]:
    """As ``call_of``."""
    call = _Call(gathering, number)
    token = _call.set(call)
    try:
        yield
    except asyncio.CancelledError as error:
        gathering.fail(error)  # a batch is cancelled as a whole: nobody is left to answer
        raise
    finally:
        _call.reset(token)
        if call.arrive() is not None:
            await _awork_if_last(gathering)


def answer(
    requests: Sequence[ReplyRequest], work: Callable[[Sequence[ReplyRequest]], list[Reply]]
) -> list[Reply]:
    """Answer requests, together with those of the batch that this call belongs to, if any."""
    call = _call.get()
    if call is None or (gathering := call.arrive()) is None:
        return work(requests)
    future = gathering.ask(call.number, requests, work)
    _work_if_last(gathering)
    return future.result()


async def aanswer(
    requests: Sequence[ReplyRequest],
    work: Callable[[Sequence[ReplyRequest]], Awaitable[list[Reply]]],
) -> list[Reply]:
    """As ``answer``."""
    call = _call.get()
    if call is None or (gathering := call.arrive()) is None:
        return await work(requests)
    future = gathering.ask(call.number, requests, work)
    await _awork_if_last(gathering)
    return await asyncio.wrap_future(future)


def _work_if_last(gathering: Gathering) -> None:
    if gathering.arrived():
        try:
            gathering.settle(gathering.work(gathering.requests))
        except BaseException as error:
            gathering.fail(error)


async def _awork_if_last(gathering: Gathering) -> None:
    if gathering.arrived():
        try:
            gathering.settle(await gathering.work(gathering.requests))
        except BaseException as error:
            gathering.fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise


def batch_together(
    invoke: Callable[[int, RunnableConfig], AIMessage], configs: Sequence[RunnableConfig]
) -> list[AIMessage]:
    """Invoke for each input, by its number and with its config, and answer all together."""
    outputs = list[AIMessage]()
    for group in _groups(configs):
        gathering = Gathering(len(group))

        def call(number: int, gathering: Gathering = gathering) -> AIMessage:
            with call_of(gathering, number):
                return invoke(number, configs[number])

        with ThreadPoolExecutor(max_workers=len(group)) as threads:
            calls = [threads.submit(copy_context().run, call, number) for number in group]
            outputs += [call.result() for call in calls]
    return outputs


async def abatch_together(
    ainvoke: Callable[[int, RunnableConfig], Awaitable[AIMessage]],
    configs: Sequence[RunnableConfig],
    *,
    return_exceptions: bool,
) -> list[AIMessage]:
    """As ``batch_together``."""
    outputs = list[AIMessage]()
    for group in _groups(configs):
        gathering = Gathering(len(group))

        async def call(number: int, gathering: Gathering = gathering) -> AIMessage:
            async with acall_of(gathering, number):
                return await ainvoke(number, configs[number])

        outputs += await asyncio.gather(  # type: ignore[arg-type] # as Runnable.abatch does
            *map(call, group), return_exceptions=return_exceptions
        )
    return outputs


def batch_each(
    invoke: Callable[[int, RunnableConfig], AIMessage], configs: Sequence[RunnableConfig]
) -> list[AIMessage]:
    """Invoke for each input, by its number and with its config; when one ends, the next begins."""
    with ThreadPoolExecutor(max_workers=_most(configs)) as threads:
        calls = [
            threads.submit(copy_context().run, invoke, number, config)
            for number, config in enumerate(configs)
        ]
        try:
            return [call.result() for call in calls]
        finally:
            for call in calls:
                call.cancel()


async def abatch_each(
    ainvoke: Callable[[int, RunnableConfig], Awaitable[AIMessage]],
    configs: Sequence[RunnableConfig],
    *,
    return_exceptions: bool,
) -> list[AIMessage]:
    """As ``batch_each``; what is under way or waits when one fails is cancelled."""
    free = asyncio.Semaphore(_most(configs))

    async def call(number: int, config: RunnableConfig) -> AIMessage:
        async with free:
            return await ainvoke(number, config)

    calls = [asyncio.ensure_future(call(*numbered)) for numbered in enumerate(configs)]
    try:
        return await asyncio.gather(  # type: ignore[return-value] # as Runnable.abatch does
            *calls, return_exceptions=return_exceptions
        )
    finally:
        for task in calls:
            task.cancel()


def _groups(configs: Sequence[RunnableConfig]) -> Iterator[range]:
    """The numbers of the inputs that are answered together."""
    size = _most(configs)
    for start in range(0, len(configs), size):
        yield range(start, min(start + size, len(configs)))


def _most(configs: Sequence[RunnableConfig]) -> int:
    """How many inputs may be under way."""
    return (configs[0].get("max_concurrency") if configs else None) or _MOST_TOGETHER
