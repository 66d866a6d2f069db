"""Connection: sends requests and reads streams through the OpenAI SDK, blocking or not.

Connection pools, retries with exponential backoff and timeouts are the SDK's. It retries only
before any of a response has come, so no text can come twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from weakref import WeakSet, finalize

import httpx
from openai import AsyncOpenAI, AsyncStream, Omit, OpenAI, Stream
from openai._streaming import ServerSentEvent, SSEDecoder

from urial_core.backends.completions_server.clients import EventLoopClient, OpenSockets
from urial_core.backends.completions_server.environment import proxy_variable, set_variables
from urial_core.backends.completions_server.errors import (
    SDK_ERRORS,
    is_no_answer,
    translated,
    without_secrets,
)
from urial_core.backends.completions_server.exchanges import COMPLETIONS, Exchange, HttpRequest
from urial_core.backends.completions_server.response import StreamReader
from urial_core.completion import CompletionChunk
from urial_core.errors import ParameterError

__all__ = ["Connection"]

_T = TypeVar("_T")
_MAX_CONCURRENT = 64
_SDK_DEFAULTS: Any = {
    "follow_redirects": True,
    "limits": httpx.Limits(max_connections=1000, max_keepalive_connections=100),
    "timeout": httpx.Timeout(600.0, connect=5.0),
}


@dataclass(kw_only=True, repr=False, eq=False)
class Connection:
    """One server's clients: one for all threads, and one for each event loop.

    A forked process gets clients of its own: its parent's connections are still its parent's.
    ``CompletionsServerModel`` describes the fields.
    """

    base_url: str
    query: Mapping[str, str]
    login: str | None
    api_key: str | None
    extra_body: Mapping[str, Any]
    timeout: float | httpx.Timeout | None
    max_retries: int | None
    http_client: httpx.Client | None
    http_async_client: httpx.AsyncClient | None
    uds: str | None

    def __post_init__(self) -> None:
        limits = {"timeout": self.timeout, "max_retries": self.max_retries}
        self._client_options: Any = {
            "base_url": self.base_url,
            "default_query": self.query,
            "api_key": self.api_key or "none",  # else the SDK takes the user's key for OpenAI
            **{name: value for name, value in limits.items() if value is not None},
        }
        # What the environment sets for OpenAI is not for other servers.
        omitted = ["OpenAI-Organization", "OpenAI-Project"]
        omitted += [] if self.api_key else ["Authorization"]
        headers: dict[str, Any] = {name: Omit() for name in omitted}
        if self.login:
            headers["Authorization"] = self.login
        self._request_options = {"headers": headers}
        self.reset()
        _CONNECTIONS.add(self)

    def reset(self) -> None:
        """Start without clients, as in a process that was just forked."""
        self._client: OpenAI | None = None
        self._sockets: OpenSockets | None = None
        self._async_clients = dict[asyncio.AbstractEventLoop, EventLoopClient]()
        self._lock = threading.Lock()
        self._once_lock = threading.Lock()

    def disconnect(self) -> None:
        """Close all connections; streams in progress break off."""
        with self._lock:
            for client in self._async_clients.values():
                client.close_sockets()
            if self._sockets is not None:
                self._sockets.close()

    def run(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end and return its result.

        Raises:
            UrialError: The server cannot be reached, refuses or fails.
        """
        response = None
        try:
            while True:
                response = self._send(exchange.send(response))
        except StopIteration as end:
            result: _T = end.value
            return result

    async def arun(self, exchange: Exchange[_T]) -> _T:
        """As ``run``, without blocking the event loop."""
        response = None
        try:
            while True:
                response = await self._asend(exchange.send(response))
        except StopIteration as end:
            result: _T = end.value
            return result

    def run_all(self, exchanges: Sequence[Exchange[_T]]) -> list[_T]:
        """Run exchanges concurrently; return their results in order, or raise the first error."""
        if len(exchanges) <= 1:
            return list(map(self.run, exchanges))
        with ThreadPoolExecutor(min(len(exchanges), _MAX_CONCURRENT)) as threads:
            return list(threads.map(self.run, exchanges))

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
        request = HttpRequest(body)
        with self._errors(request):
            events = self._call(self._sync(), request, stream=True, stream_cls=_Events)
        with events, self._errors(request, reader):
            for event in events:
                if (chunk := reader.feed(event)) is not None:
                    yield chunk
            last = reader.close(done=events.done)
        yield last

    async def astream(
        self, body: Mapping[str, Any], reader: StreamReader
    ) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        request = HttpRequest(body)
        with self._errors(request):
            client = self._async().openai
            events = await self._call(client, request, stream=True, stream_cls=_AsyncEvents)
        async with events:
            with self._errors(request, reader):
                async for event in events:
                    if (chunk := reader.feed(event)) is not None:
                        yield chunk
                last = reader.close(done=events.done)
        yield last

    @property
    def thread_lock(self) -> threading.Lock:
        """The lock for what this process's threads should do only once."""
        return self._once_lock

    @property
    def loop_lock(self) -> asyncio.Lock:
        """The running event loop's lock, for what its tasks should do only once."""
        return self._async().lock

    def _send(self, request: HttpRequest) -> Any:
        with self._errors(request):
            return _parsed(self._call(self._sync(), request))

    async def _asend(self, request: HttpRequest) -> Any:
        with self._errors(request):
            return _parsed(await self._call(self._async().openai, request))

    def _call(self, client: Any, request: HttpRequest, **options: Any) -> Any:
        """Send a request; with the async client, return an awaitable of the response."""
        options |= {"cast_to": object, "options": self._request_options}
        if request.body is None:
            return client.get(request.url, **options)
        return client.post(request.url, body=self._body_of(request), **options)

    def _body_of(self, request: HttpRequest) -> Mapping[str, Any]:
        """Return a request's body; that of a completion with the extra fields."""
        body = request.body or {}
        if request.url != COMPLETIONS:
            return body
        body = {**body, **self.extra_body}
        return {name: value for name, value in body.items() if value is not None}

    @contextmanager
    def _errors(self, request: HttpRequest, reader: StreamReader | None = None) -> Generator[None]:
        """Translate the SDK's errors, except those that are none for this request."""
        try:
            yield
        except SDK_ERRORS as error:
            if not (request.optional and is_no_answer(error, request.optional)):
                text = None if reader is None else reader.text
                body = self._body_of(request)
                proxy = proxy_variable(self.base_url) if self.uds is None else None
                failure = translated(
                    error, self.base_url, self.api_key, body, text=text, proxy=proxy
                )
                raise failure from without_secrets(error, self.api_key)

    def _sync(self) -> OpenAI:
        """Return the client for threads.

        It gets an httpx client: some versions of the SDK create one of another package.
        """
        with self._lock:
            if self._client is None:
                own = self.http_client or self._http_client(httpx.Client, httpx.HTTPTransport)
                if self.http_client is None:
                    self._sockets = OpenSockets(own)
                    finalize(self, own.close)
                self._client = OpenAI(**self._client_options, http_client=own)
            return self._client

    def _async(self) -> EventLoopClient:
        """Return the running event loop's client: connections belong to the loop that opened them.

        The SDK's own HTTP client would close itself in another loop than its connections'.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._async_clients.get(loop)
            if client is None or client.closed:
                for old in [old for old in self._async_clients if old.is_closed()]:
                    self._async_clients.pop(old).close_sockets()
                own = self.http_async_client or self._http_client(
                    httpx.AsyncClient, httpx.AsyncHTTPTransport
                )
                openai = AsyncOpenAI(**self._client_options, http_client=own)
                client = EventLoopClient(openai, own if self.http_async_client is None else None)
                self._async_clients[loop] = client
            return client

    def _http_client(self, client: Callable[..., _T], transport: Callable[..., object]) -> _T:
        """Make an HTTP client; at a Unix domain socket, one that needs no certificates.

        Raises:
            ParameterError: The environment's proxies or certificates cannot be used.
        """
        if self.uds is None:
            try:
                return client(**_SDK_DEFAULTS, verify=_default_tls())
            except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
                raise ParameterError(
                    f"No HTTP client can be made with what the environment sets ({error}). Correct "
                    f"or unset {' or '.join(set_variables())}, or pass http_client=."
                ) from error
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return client(**_SDK_DEFAULTS, verify=tls, transport=transport(verify=tls, uds=self.uds))


def _parsed(response: Any) -> Any:
    """Return a response as Python objects, also where its content type is not JSON's."""
    if isinstance(response, str):
        with suppress(ValueError):
            return json.loads(response)
    return response


@cache
def _default_tls() -> ssl.SSLContext:
    """Return httpx's TLS settings, made once: to read certificates takes a tenth of a second."""
    return httpx.create_ssl_context()


_CONNECTIONS = WeakSet[Connection]()


def _reset_all() -> None:
    for connection in _CONNECTIONS:
        connection.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)


class _Decoder(SSEDecoder):
    """The SDK's decoder of server-sent events, which also reads what some servers send instead.

    That is a byte order mark, a last event that no blank line ends, or one JSON object: a whole
    response, which becomes the only event.
    """

    _prefix: str | None = None

    def decode(self, line: str) -> ServerSentEvent | None:
        if self._prefix is None:
            line = line.removeprefix("\ufeff")
            self._prefix = "data: " if line.startswith("{") else ""
        return super().decode(self._prefix + line)

    def iter_bytes(self, iterator: Iterator[bytes]) -> Iterator[ServerSentEvent]:
        yield from super().iter_bytes(iterator)
        if self._data and (last := super().decode("")):
            yield last

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        async for event in super().aiter_bytes(iterator):
            yield event
        if self._data and (last := super().decode("")):
            yield last


class _Events(Stream[object]):
    """The SDK's stream, which also remembers whether the server marked its end."""

    done = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._decoder = _Decoder()

    def _iter_events(self) -> Iterator[Any]:
        for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event
            if self.done:  # some versions of the SDK would wait for the server to disconnect
                return


class _AsyncEvents(AsyncStream[object]):
    """As ``_Events``."""

    done = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._decoder = _Decoder()

    async def _iter_events(self) -> AsyncIterator[Any]:
        async for event in super()._iter_events():
            self.done = self.done or event.data.startswith("[DONE]")
            yield event
            if self.done:  # some versions of the SDK would wait for the server to disconnect
                return
