"""Connection: runs exchanges and streams over the official SDK, blocking or not.

Pooled connections, retries with growing pauses and time limits are the SDK's. It retries only as
long as nothing of an answer has come, so no text can come twice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, finalize

import httpx
import openai
from openai import AsyncOpenAI, AsyncStream, Omit, OpenAI, Stream

from urial_core.backends.completions_server.answer import StreamReader
from urial_core.backends.completions_server.exchange import COMPLETIONS, Ask, Exchange
from urial_core.backends.completions_server.failures import (
    ABSENT,
    FAILURES,
    failure,
    failure_amid_reply,
)
from urial_core.completion import CompletionChunk
from urial_core.errors import UrialError

__all__ = ["Connection", "Endpoint"]

_T = TypeVar("_T")
_MOST_AT_ONCE = 64
_NO_KEY = "none"
_LIKE_THE_SDKS: Any = {
    "follow_redirects": True,
    "limits": httpx.Limits(max_connections=1000, max_keepalive_connections=100),
    "timeout": httpx.Timeout(600.0, connect=5.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server is and how to reach it.

    Attributes:
        base_url: The API's base URL.
        api_key: The key; empty for none.
        extra_body: Fields for every request for a completion; None takes one away.
        timeout: Seconds to wait for a connection or for the next piece; None for the SDK's.
        max_retries: How often a request is repeated; None for the SDK's.
        http_client: The HTTP client to use.
        http_async_client: The async one.
        uds: The path of a Unix domain socket to connect through; None for the network.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    max_retries: int | None = None
    http_client: httpx.Client | None = field(default=None, repr=False)
    http_async_client: httpx.AsyncClient | None = field(default=None, repr=False)
    uds: str | None = None

    def options(self) -> dict[str, Any]:
        """Options of the SDK's clients."""
        said = {"timeout": self.timeout, "max_retries": self.max_retries}
        return {
            "base_url": self.base_url,
            "api_key": self.api_key or _NO_KEY,  # else the SDK takes the user's key for OpenAI
            **{name: value for name, value in said.items() if value is not None},
        }

    def client(self) -> httpx.Client:
        """The HTTP client for the SDK. Its own is of another package in some of its versions."""
        return self.http_client or httpx.Client(
            **_LIKE_THE_SDKS, transport=httpx.HTTPTransport(uds=self.uds) if self.uds else None
        )

    def async_client(self) -> httpx.AsyncClient:
        """The async one. The SDK's own would close itself in another loop than its connections'."""
        return self.http_async_client or httpx.AsyncClient(
            **_LIKE_THE_SDKS, transport=httpx.AsyncHTTPTransport(uds=self.uds) if self.uds else None
        )

    def completed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request for a completion with the extra fields."""
        whole = {**body, **self.extra_body}
        return {name: value for name, value in whole.items() if value is not None}

    def headers(self) -> dict[str, Any]:
        """Headers of every request: what the environment says about OpenAI is not for others."""
        omitted = ["OpenAI-Organization", "OpenAI-Project"]
        if not self.api_key:
            omitted.append("Authorization")
        return {name: Omit() for name in omitted}


class Connection:
    """One server's clients: one for all threads, and one for each event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._options: Any = {"headers": endpoint.headers()}
        self._client: OpenAI | None = None
        self._of_loops = WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop]()
        self._making = threading.Lock()

    def run(self, exchange: Exchange[_T]) -> _T:
        """Run an exchange to its end; return its result.

        Raises:
            UrialError: The server cannot be reached, refuses or fails.
        """
        answer: Any = None
        try:
            while True:
                answer = self._answer(exchange.send(answer))
        except StopIteration as end:
            result: _T = end.value
            return result

    async def arun(self, exchange: Exchange[_T]) -> _T:
        """As ``run``."""
        answer: Any = None
        try:
            while True:
                answer = await self._aanswer(exchange.send(answer))
        except StopIteration as end:
            result: _T = end.value
            return result

    def run_all(self, exchanges: Sequence[Exchange[_T]]) -> list[_T]:
        """Run several at once; return their results in order, or raise the first error."""
        if len(exchanges) == 1:
            return [self.run(exchanges[0])]
        with ThreadPoolExecutor(min(len(exchanges), _MOST_AT_ONCE) or 1) as threads:
            running = [threads.submit(self.run, exchange) for exchange in exchanges]
            try:
                return [future.result() for future in running]
            finally:
                for future in running:
                    future.cancel()

    async def arun_all(self, exchanges: Sequence[Exchange[_T]]) -> list[_T]:
        """As ``run_all``; what still runs when one fails is cancelled."""
        running = [asyncio.ensure_future(self.arun(exchange)) for exchange in exchanges]
        try:
            return await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()

    def stream(self, body: Mapping[str, Any], reader: StreamReader) -> Generator[CompletionChunk]:
        """Post a streamed completion; yield its chunks. Leaving early closes the connection.

        Raises:
            GenerationError: The stream broke off, with the text so far.
            UrialError: It never began.
        """
        body = self._endpoint.completed(body)
        try:
            events = self._sync().post(
                COMPLETIONS,
                cast_to=object,
                body=body,
                options=self._options,
                stream=True,
                stream_cls=_Events,
            )
        except FAILURES as error:
            raise self._failure(error, body) from error
        try:
            for event in events:
                if (chunk := reader.feed(event)) is not None:
                    yield chunk
            last = reader.close(said_done=events.done)
        except FAILURES as error:
            raise self._failure_amid_reply(error, reader) from error
        finally:
            events.close()
        yield last

    async def astream(
        self, body: Mapping[str, Any], reader: StreamReader
    ) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``."""
        body = self._endpoint.completed(body)
        try:
            events = await self._async().client.post(
                COMPLETIONS,
                cast_to=object,
                body=body,
                options=self._options,
                stream=True,
                stream_cls=_AsyncEvents,
            )
        except FAILURES as error:
            raise self._failure(error, body) from error
        try:
            async for event in events:
                if (chunk := reader.feed(event)) is not None:
                    yield chunk
            last = reader.close(said_done=events.done)
        except FAILURES as error:
            raise self._failure_amid_reply(error, reader) from error
        finally:
            await events.close()
        yield last

    @property
    def once(self) -> asyncio.Lock:
        """The running event loop's lock, for what is to be done once."""
        return self._async().lock

    def _answer(self, ask: Ask) -> Any:
        client, body = self._sync(), self._body(ask)
        try:
            if body is None:
                return client.get(ask.url, cast_to=object, options=self._options)
            return client.post(ask.url, cast_to=object, body=body, options=self._options)
        except FAILURES as error:
            return self._absent(error, ask)

    async def _aanswer(self, ask: Ask) -> Any:
        client, body = self._async().client, self._body(ask)
        try:
            if body is None:
                return await client.get(ask.url, cast_to=object, options=self._options)
            return await client.post(ask.url, cast_to=object, body=body, options=self._options)
        except FAILURES as error:
            return self._absent(error, ask)

    def _body(self, ask: Ask) -> Mapping[str, Any] | None:
        if ask.body is None or ask.url != COMPLETIONS:
            return ask.body
        return self._endpoint.completed(ask.body)

    def _absent(self, error: Exception, ask: Ask) -> None:
        """Pass over a path that the server may lack and does lack."""
        lacks = isinstance(error, openai.APIStatusError) and error.status_code in ABSENT
        if not (ask.optional and (lacks or isinstance(error, ValueError))):
            raise self._failure(error, ask.body) from error

    def _failure(self, error: Exception, body: Mapping[str, Any] | None) -> UrialError:
        return failure(error, self._endpoint.base_url, body, self._endpoint.api_key)

    def _failure_amid_reply(self, error: Exception, reader: StreamReader) -> UrialError:
        where = self._endpoint
        return failure_amid_reply(error, where.base_url, reader.text, where.api_key)

    def _sync(self) -> OpenAI:
        with self._making:
            if self._client is None:
                http_client = self._endpoint.client()
                if self._endpoint.http_client is None:
                    finalize(self, http_client.close)
                self._client = OpenAI(**self._endpoint.options(), http_client=http_client)
            return self._client

    def _async(self) -> _OfLoop:
        """Connections belong to the event loop that made them."""
        loop = asyncio.get_running_loop()
        with self._making:
            if loop not in self._of_loops:
                client = AsyncOpenAI(
                    **self._endpoint.options(), http_client=self._endpoint.async_client()
                )
                self._of_loops[loop] = _OfLoop(client, asyncio.Lock())
            return self._of_loops[loop]


@dataclass(frozen=True, slots=True)
class _OfLoop:
    """What belongs to one event loop."""

    client: AsyncOpenAI
    lock: asyncio.Lock


class _Events(Stream[object]):
    """The SDK's stream, which also remembers whether the server said that it was done."""

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
