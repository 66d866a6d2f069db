"""HTTP clients' ends: an event loop's client is closed with its loop, and sockets on demand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import httpx
from openai import AsyncOpenAI

__all__ = ["EventLoopClient", "OpenSockets"]


class OpenSockets:
    """The sockets of an HTTP client, which can be closed from any thread, whatever reads them."""

    def __init__(self, client: httpx.Client | httpx.AsyncClient) -> None:
        """Watch a client's responses."""
        self._streams = WeakSet[Any]()  # httpcore's, of the connections
        is_async = isinstance(client, httpx.AsyncClient)
        hooks = client.event_hooks
        hooks["response"].append(self._aremember if is_async else self._remember)
        client.event_hooks = hooks

    def close(self) -> None:
        """Close the sockets; whoever reads from one gets an error."""
        for stream in list(self._streams):
            given = stream.get_extra_info("socket")
            # Asyncio's transports would close theirs through a loop, which may be closed.
            with suppress(OSError):
                getattr(given, "_sock", given).shutdown(socket.SHUT_RDWR)
            getattr(given, "_sock", given).close()

    def _remember(self, response: httpx.Response) -> None:
        if (stream := response.extensions.get("network_stream")) is not None:
            self._streams.add(stream)

    async def _aremember(self, response: httpx.Response) -> None:
        self._remember(response)


class EventLoopClient:
    """The client and the lock of the running event loop.

    ``asyncio.run`` closes the client at its end. A loop that is closed by hand leaves its sockets
    open; ``close_sockets`` is for those.

    Attributes:
        openai: The SDK's client.
        lock: For what the loop's tasks should do only once.
    """

    def __init__(self, openai: AsyncOpenAI, owned: httpx.AsyncClient | None) -> None:
        """Take the SDK's client, and its HTTP client if that is not the caller's."""
        self.openai = openai
        self.lock = asyncio.Lock()
        self._sockets = OpenSockets(owned) if owned else None
        self._open = _open_until_shutdown(owned) if owned else None

    @property
    def closed(self) -> bool:
        """Whether the client was closed, by its loop's shutdown or by its owner."""
        return self.openai.is_closed()

    def close_sockets(self) -> None:
        """Close the connections without the loop."""
        if self._sockets is not None:
            self._sockets.close()


def _open_until_shutdown(client: httpx.AsyncClient) -> AsyncGenerator[None]:
    """Return a generator that closes the client when the running loop shuts its generators down.

    ``loop.shutdown_asyncgens``, which ``asyncio.run`` calls, is the only hook at a loop's end.
    """

    async def opened() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await client.aclose()

    generator = opened()
    with suppress(StopIteration):
        anext(generator).send(None)  # runs to the yield, without waiting
    return generator
