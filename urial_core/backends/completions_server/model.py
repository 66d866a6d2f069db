"""The completion model that a server runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from urial_core.backends.completions_server import exchanges, prompt_logprobs
from urial_core.backends.completions_server.arguments import (
    api_url,
    check_settings,
    header_value,
)
from urial_core.backends.completions_server.exchanges import Exchange, Server
from urial_core.backends.completions_server.payload import DIALECTS, Dialect
from urial_core.backends.completions_server.response import StreamReader
from urial_core.backends.completions_server.warming import warm_up
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionModel,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
)
from urial_core.errors import MissingDependencyError, ParameterError
from urial_core.inner_stream import InnerStream
from urial_core.prompts.prompt import Prompt

if TYPE_CHECKING:
    import httpx

__all__ = ["CompletionsServerModel", "is_server_url"]

_T = TypeVar("_T")


def is_server_url(name: str) -> bool:
    """Return whether a model's name is the URL of a server."""
    return name.startswith(("http://", "https://"))


class CompletionsServerModel(CompletionModel):
    """A base model behind any OpenAI-style ``/v1/completions``: vLLM, llama.cpp and others.

    The first use detects once what the server is. Any number of threads and event loops may call.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout | None = None,
        max_retries: int | None = None,
        dialect: str | Dialect | None = None,
        context_window: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
        uds: str | None = None,
    ) -> None:
        """Set up a server's model. Nothing is sent yet.

        Args:
            base_url: The API's base URL, such as ``http://127.0.0.1:8000/v1``; ``/v1`` is added to
                a URL without a path. Each request has its query (``?api-version=1``). A model's
                name may follow it, after a ``#``.
            model: The model's name on the server. Default: the one in ``base_url``, or the first
                that the server lists.
            api_key: The server's API key; never shown, and never taken from the environment.
            timeout: Seconds to wait for a connection, or for the next piece of a response; or an
                ``httpx.Timeout``. Default: the SDK's, 600 and 5 for a connection.
            max_retries: How often a request is retried that failed before any of its response came.
                Default: the SDK's, 2.
            dialect: "vllm", "llama.cpp" or "generic", or one of your own. Default: detected.
            context_window: The context window in tokens, where the server does not report it.
            extra_body: Fields for every request for a completion, such as vLLM's ``cache_salt``;
                None removes a field that the server refuses.
            http_client: The HTTP client to use, for proxies or certificates.
            http_async_client: The same for the async methods.
            uds: The path of a Unix domain socket at which the server listens; ``base_url`` is then
                ``http://localhost/v1`` or the like.

        Raises:
            MissingDependencyError: The openai package is not installed.
            ParameterError: ``base_url`` is not a URL, there is no such dialect, or another argument
                is of an invalid type or value.
        """
        MissingDependencyError.check("Using a completions server", "openai", "openai")
        from httpx import Timeout

        from urial_core.backends.completions_server.connection import Connection

        check_settings(
            model=model,
            timeout=None if isinstance(timeout, Timeout | tuple) else timeout,
            max_retries=max_retries,
            context_window=context_window,
            extra_body=extra_body,
        )
        connection: dict[str, Any] = {
            "api_key": header_value(api_key),
            "extra_body": dict(extra_body or {}),
            "timeout": timeout,
            "max_retries": max_retries,
            "http_client": http_client,
            "http_async_client": http_async_client,
            "uds": uds,
        }
        api = api_url(base_url)
        self._url, self._query = api.url, api.query
        self._arguments = {
            "base_url": base_url,
            **connection,
            "dialect": dialect,
            "context_window": context_window,
        }
        self._model = model or api.model
        if isinstance(dialect, str) and dialect not in DIALECTS:
            raise ParameterError(f"dialect is {dialect!r}: use one of {', '.join(DIALECTS)}.")
        self._dialect = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        self._window = context_window
        self._connection = Connection(
            base_url=api.url, query=api.query, login=api.login, **connection
        )
        self._server: Server | None = None
        self._siblings = dict[str, CompletionsServerModel]()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r}, model={self._model!r})"

    def __reduce__(self) -> tuple[Callable[[], CompletionsServerModel], tuple[()]]:
        """Pickle the constructor's arguments, the API key among them."""
        return partial(type(self), model=self._model, **self._arguments), ()

    @property
    def name(self) -> str:
        """The model's name; the server is asked for it if none was given."""
        return self._model or self.server().model

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The server and its model, with a hash of what each request adds, which may be secret."""
        extra = repr([sorted(self._arguments["extra_body"].items()), self._query])
        return {
            "backend": "completions server",
            "base_url": self._url,
            "model": self._model,
            "extra_body": sha256(extra.encode()).hexdigest()[:16],
            "uds": self._arguments["uds"],
        }

    @property
    def context_window(self) -> int | None:
        """The context window in tokens: the given one, or the one that the server reports."""
        return self._window or self.server().window

    @property
    def known_context_window(self) -> int | None:
        """The context window, if it is known without asking the server."""
        return self._window or (self._server.window if self._server else None)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The server's tokenizer, if it offers one."""
        return self._encode if self.server().tokenizes else None

    def server(self) -> Server:
        """Return what the server is; it is asked once."""
        with self._connection.thread_lock:
            if self._server is None:
                self._server = self._connection.run(self._discovery())
            return self._server

    async def aserver(self) -> Server:
        """As ``server``, without blocking the event loop."""
        if self._server is None:
            async with self._connection.loop_lock:
                if self._server is None:
                    self._server = await self._connection.arun(self._discovery())
        return self._server

    def with_model(self, name: str) -> CompletionsServerModel:
        """Return another model of the same server, with the same connections; one per name."""
        if name not in self._siblings:
            sibling = type(self)(model=name, **self._arguments)
            sibling._connection = self._connection  # noqa: SLF001 - of the same class
            sibling._siblings = self._siblings  # noqa: SLF001
            self._siblings.setdefault(name, sibling)  # another thread's may be there already
        return self._siblings[name]

    @property
    def features(self) -> ModelFeatures:
        """What the server can do; it is asked once."""
        dialect = self.server().dialect
        return ModelFeatures(
            enforces_choices=dialect.choice is not None,
            scores_choices=dialect.choice is not None,
            enforces_json=dialect.json_schema is not None,
            with_model=self.with_model,
        )

    def run(self, exchange: Callable[[Server], Exchange[_T]]) -> _T:
        """Run an exchange with the server and return its result."""
        return self._connection.run(exchange(self.server()))

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Encode a conversation with the chat template (``prompt_logprobs.encode_chat``)."""
        return self.run(partial(prompt_logprobs.encode_chat, messages))

    def disconnect(self) -> None:
        """Close all connections to the server; replies in progress break off."""
        self._connection.disconnect()

    def warm(
        self, prompt: Prompt | str, *, is_saved: bool = False, slots: Sequence[int] | None = None
    ) -> None:
        """Compute the prompt prefix now, so that the first request finds it in the prefix cache.

        Args:
            prompt: The prompt, or its prefix's text.
            is_saved: Whether llama.cpp's ``--slot-save-path`` holds its KV cache from a ``warm``
                with the same model. It is read then rather than computed.
            slots: llama.cpp's slots to do it in. Default: all, which then hold no other prefix.
        """
        warming = warm_up(prompt, self.server(), is_saved=is_saved, slots=slots)
        self._connection.run(warming)

    async def awarm(
        self, prompt: Prompt | str, *, is_saved: bool = False, slots: Sequence[int] | None = None
    ) -> None:
        """As ``warm``, without blocking the event loop."""
        server = await self.aserver()
        warming = warm_up(prompt, server, is_saved=is_saved, slots=slots)
        await self._connection.arun(warming)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts concurrently."""
        return _in_order(self._connection.run_all(_completions(requests, self.server())))

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        started = _completions(requests, await self.aserver())
        return _in_order(await self._connection.arun_all(started))

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion; closing early disconnects, which stops the server."""
        server = self.server()
        if exchanges.choice_of(request, server):
            yield from self.complete([request])
            return
        body = self._connection.run(exchanges.request_body(request, server, stream=True))
        yield from self._connection.stream(body, StreamReader(request, server.dialect))

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        server = await self.aserver()
        if exchanges.choice_of(request, server):
            for completion in await self.acomplete([request]):
                yield completion
            return
        body = await self._connection.arun(exchanges.request_body(request, server, stream=True))
        reader = StreamReader(request, server.dialect)
        async with InnerStream(self._connection.astream(body, reader)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _discovery(self) -> Exchange[Server]:
        return exchanges.discover(self._url, self._model, self._dialect)

    def _encode(self, text: str) -> list[int]:
        return self._connection.run(exchanges.encode(text, self.server()))


def _completions(
    requests: Sequence[CompletionRequest], server: Server
) -> list[Exchange[dict[int, Completion]]]:
    """Return an exchange for each group of requests that can share one HTTP request."""
    groups: dict[object, dict[int, CompletionRequest]] = {}
    for index, request in enumerate(requests):
        alike = (request.parameters, request.stop, request.constraint)
        shares = exchanges.shares_requests(request, server)
        groups.setdefault(alike if shares else index, {})[index] = request
    return [_completion(group, server) for group in groups.values()]


def _completion(
    group: Mapping[int, CompletionRequest], server: Server
) -> Exchange[dict[int, Completion]]:
    """Complete requests, given by their indices, that differ only in their prompts."""
    completions = yield from exchanges.complete(list(group.values()), server)
    return dict(zip(group, completions, strict=True))


def _in_order(groups: Iterable[Mapping[int, Completion]]) -> list[Completion]:
    completions = {index: completion for group in groups for index, completion in group.items()}
    return [completions[index] for index in sorted(completions)]
