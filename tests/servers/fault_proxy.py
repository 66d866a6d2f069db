"""A proxy on the loopback interface that makes connections fail as bad networks do."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class FaultProxy:
    """Passes bytes between its clients and a server, with the faults that are set.

    Attributes:
        cut_after: The number of the server's bytes after which a connection is cut; None for no
            limit.
        delay: Seconds by which the server's bytes are delayed.
        refuse: How many of the next connections are cut at once.
        connections: How many there have been.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self.cut_after: int | None = None
        self.delay = 0.0
        self.refuse = 0
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def base_url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        """Cut open connections, so that no task is left."""
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            self.refuse -= 1
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        out = asyncio.ensure_future(self._pass_on(reader, server_writer))
        await self._pass_back(server_reader, writer)
        out.cancel()
        server_writer.transport.abort()
        writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.transport.abort()  # the client has disconnected

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(65536):
            await asyncio.sleep(self.delay)
            if self.cut_after is not None:
                data = data[: max(self.cut_after - passed, 0)]
            passed += len(data)
            writer.write(data)
            await writer.drain()
            if self.cut_after is not None and passed >= self.cut_after:
                return
