"""Closing: end a stream early without reporting an error.

LlamaIndex's decorators report whatever ends a stream early as an exception, even when the reader
only stops reading, and a handler that keeps that exception keeps the model running. So the source
is closed first, and the decorated stream then ends by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

__all__ = ["aclosable", "aclosing_quietly", "closable", "closing_quietly"]

_T = TypeVar("_T")
_SOURCE = "f_return_val"
"""The name of the variable in which LlamaIndex's decorators keep the stream they wrap."""


def closable(decorated: Generator[_T]) -> Generator[_T]:
    """Yield the items of a decorated stream; closing it early reports no error."""
    with closing_quietly(decorated):
        for item in decorated:  # noqa: UP028 - `yield from` would close `decorated` first
            yield item


async def aclosable(decorated: AsyncGenerator[_T]) -> AsyncGenerator[_T]:
    """As ``closable``."""
    async with aclosing_quietly(decorated):
        async for item in decorated:
            yield item


@contextmanager
def closing_quietly(decorated: object) -> Generator[None]:
    """Close a decorated stream at the end of the block, so that no error is reported.

    Args:
        decorated: The stream; anything but a generator is left alone.
    """
    try:
        yield
    finally:
        if isinstance(decorated, Generator):
            source = inspect.getgeneratorlocals(decorated).get(_SOURCE)
            if isinstance(source, Generator):
                source.close()
                for _ in decorated:
                    pass
            decorated.close()


@asynccontextmanager
async def aclosing_quietly(decorated: object) -> AsyncGenerator[None]:
    """As ``closing_quietly``."""
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
