"""Connection: sends requests and reads streams through the OpenAI SDK, blocking or not.

Connection pools, retries with exponential backoff and timeouts are the SDK's. It retries only
before any of a response has come, so no text can come twice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, finalize

import httpx
from openai import AsyncOpenAI, AsyncStream, Omit, OpenAI, Stream

from urial_core.backends.completions_server.discovery import COMPLETIONS, Exchange, ServerRequest
from urial_core.backends.completions_server.errors import (
    SDK_ERRORS,
    is_missing_path,
    request_error,
    stream_error,
)
from urial_core.backends.completions_server.response import StreamReader
from urial_core.completion import CompletionChunk

__all__ = ["Connection", "Endpoint"]

_T = TypeVar("_T")
_MAX_CONCURRENT = 64
_NO_KEY = "none"
_SDK_DEFAULTS: Any = {
    "follow_redirects": True,
    "limits": httpx.Limits(max_connections=1000, max_keepalive_connections=100),
    "timeout": httpx.Timeout(600.0, connect=5.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server is and how to reach it; see ``CompletionsServerModel``."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    extra_body: Mapping[str, Any]
    timeout: float | None = None
    max_retries: int | None = None
    http_client: httpx.Client | None = field(default=None, repr=False)
    http_async_client: httpx.AsyncClient | None = field(default=None, repr=False)
    uds: str | None = None

    def client_options(self) -> dict[str, Any]:
        """Return the options of the SDK's clients that are set."""
        options = {"timeout": self.timeout, "max_retries": self.max_retries}
        return {
            "base_url": self.base_url,
            "api_key": self.api_key or _NO_KEY,  # else the SDK takes the user's key for OpenAI
            **{name: value for name, value in options.items() if value is not None},
        }

    def request_options(self) -> dict[str, Any]:
        """Return options of every request: the environment's OpenAI settings are not sent."""
        omitted = ["OpenAI-Organization", "OpenAI-Project"]
        if not self.api_key:
            omitted.append("Authorization")
        return {"headers": {name: Omit() for name in omitted}}

    def body_of(self, request: ServerRequest) -> Mapping[str, Any] | None:
        """Return a request's body; that of a completion with the extra fields."""
        if request.body is None or request.url != COMPLETIONS:
            return request.body
        body = {**request.body, **self.extra_body}
        return {name: value for name, value in body.items() if value is not None}


class Connection:
    """One server's clients: one for all threads, and one for each event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._options = endpoint.request_options()
        self._client: OpenAI | None = None
        self._async_clients = WeakKeyDictionary[asyncio.AbstractEventLoop, _AsyncClient]()
        self._lock = threading.Lock()

    def run(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end and return its result.

        Raises:
            UrialError: The server cannot be reached, refuses or fails.
        """
        response: Any = None
        try:
            while True:
                response = self._send(exchange.send(response))
        except StopIteration as end:
            result: _T = end.value
            return result

    async def arun(self, exchange: Exchange[_T]) -> _T:
        """As ``run``, without blocking the event loop."""
        response: Any = None
        try:
            while True:
                response = await self._asend(exchange.send(response))
        except StopIteration as end:
            result: _T = end.value
            return result

    def run_all(self, exchanges: Sequence[Exchange[_T]]) -> list[_T]:
        """Run exchanges concurrently; return their results in order, or raise the first error."""
        if len(exchanges) == 1:
            return [self.run(exchanges[0])]
        with ThreadPoolExecutor(min(len(exchanges), _MAX_CONCURRENT) or 1) as threads:
            futures = [threads.submit(self.run, exchange) for exchange in exchanges]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()

    async def arun_all(self, exchanges: Sequence[Exchange[_T]]) -> list[_T]:
        """As ``run_all``; exchanges that still run when one fails are cancelled."""
        tasks = [asyncio.ensure_future(self.arun(exchange)) for exchange in exchanges]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def stream(self, body: Mapping[str, Any], reader: StreamReader) -> Generator[CompletionChunk]:
        """Post a streamed completion and yield its chunks; closing early disconnects.

        Raises:
            GenerationError: The stream broke off, with the text so far.
            UrialError: The stream did not begin.
        """
        request = ServerRequest(COMPLETIONS, body)
        with self._errors_of(request):
            events = self._call(self._sync(), request, stream=True, stream_cls=_Events)
        try:
            with self._errors_amid(reader):
                for event in events:
                    if (chunk := reader.feed(event)) is not None:
                        yield chunk
                last = reader.close(done=events.done)
        finally:
            events.close()
        yield last

    async def astream(
        self, body: Mapping[str, Any], reader: StreamReader
    ) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        request = ServerRequest(COMPLETIONS, body)
        with self._errors_of(request):
            client = self._async().client
            events = await self._call(client, request, stream=True, stream_cls=_AsyncEvents)
        try:
            with self._errors_amid(reader):
                async for event in events:
                    if (chunk := reader.feed(event)) is not None:
                        yield chunk
                last = reader.close(done=events.done)
        finally:
            await events.close()
        yield last

    @property
    def loop_lock(self) -> asyncio.Lock:
        """The running event loop's lock, for what its tasks should do only once."""
        return self._async().lock

    def _send(self, request: ServerRequest) -> Any:
        with self._errors_of(request):
            return self._call(self._sync(), request)

    async def _asend(self, request: ServerRequest) -> Any:
        with self._errors_of(request):
            return await self._call(self._async().client, request)

    def _call(self, client: Any, request: ServerRequest, **options: Any) -> Any:
        """Send a request; with the async client, return an awaitable of the response."""
        options = {"cast_to": object, "options": self._options, **options}
        body = self._endpoint.body_of(request)
        if body is None:
            return client.get(request.url, **options)
        return client.post(request.url, body=body, **options)

    @contextmanager
    def _errors_of(self, request: ServerRequest) -> Generator[None]:
        """Translate the SDK's errors, except that of an optional path that is missing."""
        try:
            yield
        except SDK_ERRORS as error:
            if not (request.optional and is_missing_path(error)):
                endpoint, body = self._endpoint, self._endpoint.body_of(request)
                raise request_error(
                    error, endpoint.base_url, body, endpoint.api_key or ""
                ) from error

    @contextmanager
    def _errors_amid(self, reader: StreamReader) -> Generator[None]:
        try:
            yield
        except SDK_ERRORS as error:
            endpoint = self._endpoint
            raise stream_error(
                error, endpoint.base_url, reader.text, endpoint.api_key or ""
            ) from error

    def _sync(self) -> OpenAI:
        """Return the client for threads.

        It gets an HTTP client of ours: some versions of the SDK create one of another package.
        """
        endpoint = self._endpoint
        with self._lock:
            if self._client is None:
                http_client = endpoint.http_client or httpx.Client(
                    **_SDK_DEFAULTS,
                    transport=httpx.HTTPTransport(uds=endpoint.uds) if endpoint.uds else None,
                )
                if endpoint.http_client is None:
                    finalize(self, http_client.close)
                self._client = OpenAI(**endpoint.client_options(), http_client=http_client)
            return self._client

    def _async(self) -> _AsyncClient:
        """Return the running event loop's client: connections belong to the loop that opened them.

        The SDK's own HTTP client would close itself in another loop than its connections'.
        """
        endpoint, loop = self._endpoint, asyncio.get_running_loop()
        with self._lock:
            if loop not in self._async_clients:
                http_client = endpoint.http_async_client or httpx.AsyncClient(
                    **_SDK_DEFAULTS,
                    transport=httpx.AsyncHTTPTransport(uds=endpoint.uds) if endpoint.uds else None,
                )
                client = AsyncOpenAI(**endpoint.client_options(), http_client=http_client)
                self._async_clients[loop] = _AsyncClient(client, asyncio.Lock())
            return self._async_clients[loop]


class _AsyncClient(NamedTuple):
    """What belongs to one event loop."""

    client: AsyncOpenAI
    lock: asyncio.Lock


class _Events(Stream[object]):
    """The SDK's stream, which also remembers whether the server marked its end."""

    done = False

    def _iter_events(self) -> Iterator[Any]:
        for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event


class _AsyncEvents(AsyncStream[object]):
    """As ``_Events``."""

    done = False

    async def _iter_events(self) -> AsyncIterator[Any]:
        async for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event
