"""Closing: end a stream early without reporting an error.

LlamaIndex's decorators report whatever ends a stream early as an exception, even when the reader
only stops reading, and a handler that keeps that exception keeps the model running. So the source
is closed first, and the decorated stream then ends by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

__all__ = ["aclosable", "aclosing_quietly", "closable", "closing_quietly"]

_T = TypeVar("_T")
_SOURCE = "f_return_val"
"""The name of the variable in which LlamaIndex's decorators keep the stream they wrap."""


def closable(
    decorate: Callable[[Callable[..., Any]], Callable[..., Generator[_T]]],
    start: Callable[..., Generator[_T]],
    *args: Any,
    **kwargs: Any,
) -> Generator[_T]:
    """Start a stream under one of LlamaIndex's decorators; closing it early reports no error.

    Args:
        decorate: ``llm_chat_callback()`` or ``llm_completion_callback()``.
        start: Starts the stream, with the arguments that follow.
        *args: Arguments of ``start``.
        **kwargs: Arguments of ``start``.
    """
    sources = list[Generator[_T]]()

    def started(*args: Any, **kwargs: Any) -> Generator[_T]:
        sources.append(start(*args, **kwargs))
        return sources[0]

    decorated = decorate(started)(*args, **kwargs)

    def items() -> Generator[_T]:
        with closing_quietly(decorated, sources[0]):
            for item in decorated:  # noqa: UP028 - `yield from` would close `decorated` first
                yield item

    return items()


async def aclosable(
    decorate: Callable[[Callable[..., Any]], Callable[..., Awaitable[AsyncGenerator[_T]]]],
    start: Callable[..., Awaitable[AsyncGenerator[_T]]],
    *args: Any,
    **kwargs: Any,
) -> AsyncGenerator[_T]:
    """As ``closable``."""
    sources = list[AsyncGenerator[_T]]()

    async def started(*args: Any, **kwargs: Any) -> AsyncGenerator[_T]:
        sources.append(await start(*args, **kwargs))
        return sources[0]

    decorated = await decorate(started)(*args, **kwargs)

    async def items() -> AsyncGenerator[_T]:
        async with aclosing_quietly(decorated, sources[0]):
            async for item in decorated:
                yield item

    return items()


@contextmanager
def closing_quietly(decorated: object, source: object = None) -> Generator[None]:
    """Close a decorated stream at the end of the block, so that no error is reported.

    Args:
        decorated: The stream; anything but a generator is left alone.
        source: The stream that it wraps. Default: look it up in the decorated one's variables.
    """
    try:
        yield
    finally:
        if isinstance(decorated, Generator):
            source = source or inspect.getgeneratorlocals(decorated).get(_SOURCE)
            if isinstance(source, Generator):
                source.close()
                for _ in decorated:
                    pass
            decorated.close()


@asynccontextmanager
async def aclosing_quietly(decorated: object, source: object = None) -> AsyncGenerator[None]:
    """As ``closing_quietly``."""
    try:
        yield
    finally:
        if isinstance(decorated, AsyncGenerator):
            frame = getattr(decorated, "ag_frame", None)
            source = source or (frame.f_locals.get(_SOURCE) if frame else None)
            if isinstance(source, AsyncGenerator):
                await source.aclose()
                async for _ in decorated:
                    pass
            await decorated.aclose()
