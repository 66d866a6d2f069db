"""Async streams that another stream reads and closes."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import Any, Self, TypeVar

__all__ = ["InnerStream"]

_T = TypeVar("_T")


class InnerStream(AsyncGenerator[_T, None]):
    """A stream that its reader alone closes, at the latest at the end of an ``async with`` block.

    An event loop that ends closes all generators that it has seen begin, at the same time. One that
    closes the generator that it reads would find that being closed, which is an error. So the loop
    sees the outermost only. What nobody closed is still closed when it is garbage-collected.
    """

    def __init__(self, source: AsyncGenerator[_T]) -> None:
        """Read a generator that has not begun."""
        self._source = source
        self._closed = False

    async def __aenter__(self) -> Self:
        """Return the stream."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        await self.aclose()

    async def asend(self, value: None) -> _T:
        """Return the next item."""
        if self._closed:  # Python 3.11 fails to read a generator whose closing was cancelled
            raise StopAsyncIteration
        seen_by_loop = sys.get_asyncgen_hooks().firstiter
        sys.set_asyncgen_hooks(firstiter=None)
        try:
            step = self._source.asend(value)
        finally:
            sys.set_asyncgen_hooks(firstiter=seen_by_loop)
        return await step

    async def athrow(self, *error: Any) -> _T:
        """Raise an error in the generator."""
        return await self._source.athrow(*error)

    async def aclose(self) -> None:
        """Close the generator."""
        self._closed = True
        await self._source.aclose()
