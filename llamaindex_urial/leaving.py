"""Leaving a stream early, without a false alarm.

LlamaIndex's decorators report whatever ends a stream early as an exception, even when the reader
just wants no more, and a handler that keeps that exception keeps the model running. So the source
is closed first, and the decorated stream then finds its natural end.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

__all__ = ["aending", "aleavable", "ending", "leavable"]

_T = TypeVar("_T")
_SOURCE = "f_return_val"


def leavable(
    decorate: Callable[[Callable[..., Any]], Callable[..., Generator[_T]]],
    start: Callable[..., Generator[_T]],
    *args: Any,
    **kwargs: Any,
) -> Generator[_T]:
    """Start a stream under one of LlamaIndex's decorators.

    Args:
        decorate: ``llm_chat_callback()`` or ``llm_completion_callback()``.
        start: Takes what follows; begins the stream.
        *args: Given to ``start``.
        **kwargs: Given to ``start``.
    """
    sources = list[Generator[_T]]()

    def started(*args: Any, **kwargs: Any) -> Generator[_T]:
        sources.append(start(*args, **kwargs))
        return sources[0]

    decorated = decorate(started)(*args, **kwargs)
    return _leave_quietly(decorated, sources[0])


async def aleavable(
    decorate: Callable[[Callable[..., Any]], Callable[..., Awaitable[AsyncGenerator[_T]]]],
    start: Callable[..., Awaitable[AsyncGenerator[_T]]],
    *args: Any,
    **kwargs: Any,
) -> AsyncGenerator[_T]:
    """As ``leavable``."""
    sources = list[AsyncGenerator[_T]]()

    async def started(*args: Any, **kwargs: Any) -> AsyncGenerator[_T]:
        sources.append(await start(*args, **kwargs))
        return sources[0]

    decorated = await decorate(started)(*args, **kwargs)
    return _aleave_quietly(decorated, sources[0])


@contextmanager
def ending(decorated: object) -> Generator[None]:
    """Within it, another LLM's stream is read; at its end the stream is over, and quietly so."""
    try:
        yield
    finally:
        if isinstance(decorated, Generator):
            # The name of LlamaIndex's own variable; without it, the stream is just closed.
            source = inspect.getgeneratorlocals(decorated).get(_SOURCE)
            if isinstance(source, Generator):
                source.close()
                for _ in decorated:
                    pass
            decorated.close()


@asynccontextmanager
async def aending(decorated: object) -> AsyncGenerator[None]:
    """As ``ending``."""
    try:
        yield
    finally:
        if isinstance(decorated, AsyncGenerator):
            frame = getattr(decorated, "ag_frame", None)
            source = frame.f_locals.get(_SOURCE) if frame else None
            if isinstance(source, AsyncGenerator):
                await source.aclose()
                async for _ in decorated:
                    pass
            await decorated.aclose()


def _leave_quietly(decorated: Generator[_T], source: Generator[_T]) -> Generator[_T]:
    try:
        for item in decorated:
            yield item
    except GeneratorExit:
        source.close()
        for _ in decorated:
            pass
        raise


async def _aleave_quietly(
    decorated: AsyncGenerator[_T], source: AsyncGenerator[_T]
) -> AsyncGenerator[_T]:
    try:
        async for item in decorated:
            yield item
    except GeneratorExit:
        await source.aclose()
        async for _ in decorated:
            pass
        raise
