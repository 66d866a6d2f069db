"""Closing: end a stream early without reporting an error.

LlamaIndex's decorators report whatever ends a stream early as an exception, even when the reader
only stops reading, and a handler that keeps that exception keeps the model running. So the source
is closed first, and the decorated stream then ends by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import TypeVar

from urial_core.inner_stream import InnerStream

__all__ = ["QuietStream", "aclosable", "closable", "closing_quietly"]

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
    async with QuietStream(decorated) as items:
        async for item in items:
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


class QuietStream(InnerStream[_T]):
    """A decorated stream that is closed as ``closing_quietly`` closes one."""

    async def aclose(self) -> None:
        """Close the stream that was decorated, then this one."""
        frame = getattr(self._source, "ag_frame", None)
        source = frame.f_locals.get(_SOURCE) if frame else None
        if isinstance(source, AsyncGenerator):
            await source.aclose()
            async for _ in self._source:
                pass
        await super().aclose()
