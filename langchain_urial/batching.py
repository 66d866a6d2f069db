"""Request coalescing: several calls that LangChain makes one by one become one batch of the model.

LangChain invokes a chat model once per input, each time with its own callbacks, cache look-up and
rate limit. Those stay as they are; only the model's work is put together:

- ``batch``: each invocation brings its requests and waits; the last one to do so has all of them
  answered as one batch. A model that schedules requests itself gets each as it comes.
- ``generate`` asks about one conversation after the other: the first one has all of them answered.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from urial_core import Reply
from urial_core.composing import ReplyRequest
from urial_core.errors import UrialError

__all__ = ["aanswer", "abatch", "answer", "batch", "lookahead"]

_MAX_CONCURRENCY = 64
"""Inputs that are answered together, or at a time, where no ``max_concurrency`` is set."""

_Compose = Callable[[Sequence[BaseMessage]], list[ReplyRequest]]
_Work = Callable[[Sequence[ReplyRequest]], list[Reply]]
_AsyncWork = Callable[[Sequence[ReplyRequest]], Awaitable[list[Reply]]]


class CoalescedBatch:
    """Requests of several calls. Each call asks once or leaves; the last to do so does the work."""

    def __init__(self, calls: int) -> None:
        """Expect this many calls."""
        self.work: Any = None
        self._outstanding = calls
        self._asked = dict[int, tuple[Sequence[ReplyRequest], Future[list[Reply]]]]()
        self._lock = threading.Lock()

    def ask(self, number: int, requests: Sequence[ReplyRequest], work: Any) -> Future[list[Reply]]:
        """Add the requests of a call, by its number, and what can answer them."""
        future = Future[list[Reply]]()
        with self._lock:
            self.work = work
            self._asked[number] = (requests, future)
        return future

    def leave(self) -> list[ReplyRequest]:
        """Count a call off; return all requests, in the calls' order, if it was the last."""
        with self._lock:
            self._outstanding -= 1
            if self._outstanding:
                return []
        return [request for requests, _ in self._in_order() for request in requests]

    def resolve(self, replies: Sequence[Reply]) -> None:
        """Give each call its replies, if it still waits for them."""
        rest = iter(replies)
        for requests, future in self._in_order():
            own = [next(rest) for _ in requests]
            if not future.done():
                future.set_result(own)

    def fail(self, error: BaseException) -> None:
        """Give each call the error that ended the work; nothing is left to answer."""
        asked, self._asked = self._in_order(), {}
        for _, future in asked:
            if not future.done():
                future.set_exception(error)

    def _in_order(self) -> list[tuple[Sequence[ReplyRequest], Future[list[Reply]]]]:
        return [self._asked[number] for number in sorted(self._asked)]


class _Member:
    """One call of a batch, and whether it has yet to ask or leave. Copied contexts share it."""

    def __init__(self, batch: CoalescedBatch, number: int) -> None:
        self.batch = batch
        self.number = number
        self._due = True

    def take_turn(self) -> bool:
        """Return whether the call is due, which it is once."""
        due, self._due = self._due, False
        return due


_member: ContextVar[_Member | None] = ContextVar("member", default=None)


@contextmanager
def _member_of(batch: CoalescedBatch | None, number: int) -> Generator[None]:
    """Run one of a batch's calls; at its end it leaves, if it has not asked."""
    if batch is None:
        yield
        return
    member = _Member(batch, number)
    token = _member.set(member)
    try:
        yield
    finally:
        _member.reset(token)
        if member.take_turn():
            _work_if_last(batch)


@asynccontextmanager
async def _amember_of(batch: CoalescedBatch | None, number: int) -> AsyncGenerator[None]:
    """As ``_member_of``."""
    if batch is None:
        yield
        return
    member = _Member(batch, number)
    token = _member.set(member)
    try:
        yield
    except asyncio.CancelledError as error:
        batch.fail(error)  # a batch is cancelled as a whole
        raise
    finally:
        _member.reset(token)
        if member.take_turn():
            await _awork_if_last(batch)


def _coalesce(requests: Sequence[ReplyRequest], work: _Work) -> list[Reply]:
    """Answer requests, together with those of the batch that this call belongs to, if any."""
    member = _member.get()
    if member is None or not member.take_turn():
        return work(requests)
    future = member.batch.ask(member.number, requests, work)
    _work_if_last(member.batch)
    return future.result()


async def _acoalesce(requests: Sequence[ReplyRequest], work: _AsyncWork) -> list[Reply]:
    """As ``_coalesce``."""
    member = _member.get()
    if member is None or not member.take_turn():
        return await work(requests)
    future = member.batch.ask(member.number, requests, work)
    await _awork_if_last(member.batch)
    return await asyncio.wrap_future(future)


def _work_if_last(batch: CoalescedBatch) -> None:
    if requests := batch.leave():
        try:
            batch.resolve(batch.work(requests))
        except BaseException as error:  # noqa: BLE001 - each call raises it
            batch.fail(error)


async def _awork_if_last(batch: CoalescedBatch) -> None:
    if requests := batch.leave():
        try:
            batch.resolve(await batch.work(requests))
        except BaseException as error:
            batch.fail(error)
            if isinstance(error, asyncio.CancelledError):
                raise


class _Lookahead:
    """The conversations of one ``generate``, and the replies to them once there are any."""

    def __init__(self, conversations: Sequence[Sequence[BaseMessage]]) -> None:
        self.lock = asyncio.Lock()
        self.answered = False
        self._conversations = conversations
        self._replies = defaultdict[ReplyRequest, deque[Reply]](deque)

    def compose(self, compose: _Compose) -> list[ReplyRequest]:
        """Return all requests, the first time; a conversation that is invalid fails by itself."""
        if self.answered:
            return []
        self.answered = True  # also if answering fails: then each is answered by itself
        requests = list[ReplyRequest]()
        for conversation in self._conversations:
            with suppress(UrialError):
                requests += compose(conversation)
        return requests

    def keep(self, requests: Sequence[ReplyRequest], replies: Sequence[Reply]) -> None:
        """Keep the replies until they are asked for."""
        for request, reply in zip(requests, replies, strict=True):
            self._replies[request].append(reply)

    def take(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Return the replies to these requests; none if one of them is missing."""
        counts = Counter(requests)
        if any(len(self._replies[request]) < count for request, count in counts.items()):
            return []
        return [self._replies[request].popleft() for request in requests]


_lookahead: ContextVar[_Lookahead | None] = ContextVar("lookahead", default=None)


@contextmanager
def lookahead(conversations: Sequence[Sequence[BaseMessage]]) -> Generator[None]:
    """Announce that all of these conversations will be asked about within the block."""
    token = _lookahead.set(_Lookahead(conversations) if len(conversations) > 1 else None)
    try:
        yield
    finally:
        _lookahead.reset(token)


def answer(requests: Sequence[ReplyRequest], compose: _Compose, work: _Work) -> list[Reply]:
    """Answer requests, together with those of the same ``batch`` or ``generate``.

    Args:
        requests: The requests of this call.
        compose: Makes the requests for a conversation.
        work: Answers requests as one batch.
    """
    ahead = _lookahead.get()
    if ahead is None:
        return _coalesce(requests, work)
    if coming := ahead.compose(compose):
        ahead.keep(coming, _coalesce(coming, work))
    return ahead.take(requests) or _coalesce(requests, work)


async def aanswer(
    requests: Sequence[ReplyRequest], compose: _Compose, work: _AsyncWork
) -> list[Reply]:
    """As ``answer``; calls that ask meanwhile wait."""
    ahead = _lookahead.get()
    if ahead is None:
        return await _acoalesce(requests, work)
    async with ahead.lock:
        if not ahead.answered and (coming := await asyncio.to_thread(ahead.compose, compose)):
            ahead.keep(coming, await _acoalesce(coming, work))
    return ahead.take(requests) or await _acoalesce(requests, work)


def batch(
    invoke: Callable[[int, RunnableConfig], AIMessage],
    configs: Sequence[RunnableConfig],
    *,
    coalesce: bool,
) -> list[AIMessage]:
    """Invoke for each input, side by side.

    Args:
        invoke: Takes an input's number and its config.
        configs: The inputs' configs; ``max_concurrency`` of the first is the most at a time.
        coalesce: Whether so many are answered as one batch, and only then the next ones; else,
            when one ends, the next begins.
    """
    outputs = list[AIMessage]()
    for numbers in _groups(configs, coalesce=coalesce):
        together = CoalescedBatch(len(numbers)) if coalesce else None

        def call(number: int, together: CoalescedBatch | None = together) -> AIMessage:
            with _member_of(together, number):
                return invoke(number, configs[number])

        with ThreadPoolExecutor(max_workers=_max_concurrency(configs)) as threads:
            calls = [threads.submit(copy_context().run, call, number) for number in numbers]
            try:
                outputs += [call.result() for call in calls]
            finally:
                for waiting in calls:
                    waiting.cancel()
    return outputs


async def abatch(
    ainvoke: Callable[[int, RunnableConfig], Awaitable[AIMessage]],
    configs: Sequence[RunnableConfig],
    *,
    coalesce: bool,
    return_exceptions: bool,
) -> list[AIMessage]:
    """As ``batch``; when one fails, those that run or wait are cancelled."""
    outputs = list[AIMessage]()
    free = asyncio.Semaphore(_max_concurrency(configs))
    for numbers in _groups(configs, coalesce=coalesce):
        together = CoalescedBatch(len(numbers)) if coalesce else None

        async def call(number: int, together: CoalescedBatch | None = together) -> AIMessage:
            async with free, _amember_of(together, number):
                return await ainvoke(number, configs[number])

        calls = [asyncio.ensure_future(call(number)) for number in numbers]
        try:
            outputs += await asyncio.gather(  # type: ignore[arg-type] # as Runnable.abatch does
                *calls, return_exceptions=return_exceptions
            )
        finally:
            for task in calls:
                task.cancel()
    return outputs


def _groups(configs: Sequence[RunnableConfig], *, coalesce: bool) -> Iterator[range]:
    """Yield the numbers of the inputs that run side by side."""
    size = _max_concurrency(configs) if coalesce else max(len(configs), 1)
    for start in range(0, len(configs), size):
        yield range(start, min(start + size, len(configs)))


def _max_concurrency(configs: Sequence[RunnableConfig]) -> int:
    return (configs[0].get("max_concurrency") if configs else None) or _MAX_CONCURRENCY
