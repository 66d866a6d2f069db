"""The completion model that a server runs."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from urial_core.backends.completions_server.answer import StreamReader, completions_of
from urial_core.backends.completions_server.choice import KnownChoices
from urial_core.backends.completions_server.dialect import Dialect, dialect_named
from urial_core.backends.completions_server.discovery import Server, discover
from urial_core.backends.completions_server.exchange import COMPLETIONS, Ask, Exchange
from urial_core.backends.completions_server.payload import completion_payload, group_payload
from urial_core.backends.completions_server.tokens import KnownTokens
from urial_core.backends.completions_server.urls import api_url, without_login
from urial_core.backends.completions_server.warming import warmed
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
    estimate_tokens,
)
from urial_core.errors import MissingDependencyError
from urial_core.prompts.prompt import Prompt
from urial_core.structured.constraints import Choice

if TYPE_CHECKING:
    import httpx

    from urial_core.backends.completions_server.connection import Connection

__all__ = ["CompletionsServerModel"]


class CompletionsServerModel:
    """A base model behind any OpenAI-style ``/v1/completions``: vLLM, llama.cpp and others.

    The server is asked once what it is, when that is first needed, and spoken to accordingly. Any
    number of threads and event loops may call.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        dialect: str | Dialect | None = None,
        context_window: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
        uds: str | None = None,
    ) -> None:
        """Name a server. Nothing is sent yet.

        Args:
            base_url: The API's base URL, such as ``http://127.0.0.1:8000/v1``; ``/v1`` is added to
                a URL without a path.
            model: The model's name on the server. Default: the first that it names.
            api_key: The server's key; never shown, and never taken from the environment.
            timeout: Seconds to wait for a connection, or for the next piece of an answer. Default:
                the SDK's, 600 and 5 for a connection.
            max_retries: How often a request is repeated that failed before any of its answer came.
                Default: the SDK's, 2.
            dialect: "vllm", "llama.cpp" or "generic", or one of your own. Default: found out.
            context_window: Tokens of one request, where the server does not say.
            extra_body: Fields for every request for a completion, such as vLLM's ``cache_salt``;
                None takes away one that the server refuses.
            http_client: The HTTP client to use, for proxies or certificates.
            http_async_client: The same for the async methods.
            uds: The path of a Unix domain socket at which the server listens; ``base_url`` is then
                ``http://localhost/v1`` or the like.

        Raises:
            MissingDependencyError: The openai package is not installed.
            ParameterError: ``base_url`` is no URL, or there is no such dialect.
        """
        if find_spec("openai") is None:
            raise MissingDependencyError(
                "Talking to a completions server needs openai: pip install 'urial-chat[openai]'"
            )
        from urial_core.backends.completions_server.connection import Connection, Endpoint

        self._base_url = api_url(base_url)
        self._model = model
        self._dialect = dialect_named(dialect) if isinstance(dialect, str) else dialect
        self._window = context_window
        self._extra_body = dict(extra_body or {})
        self._uds = uds
        endpoint = Endpoint(
            base_url=self._base_url,
            api_key=api_key or "",
            extra_body=self._extra_body,
            timeout=timeout,
            max_retries=max_retries,
            http_client=http_client,
            http_async_client=http_async_client,
            uds=uds,
        )
        self._again = partial(
            type(self),
            base_url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            dialect=dialect,
            context_window=context_window,
            extra_body=extra_body,
            http_client=http_client,
            http_async_client=http_async_client,
            uds=uds,
        )
        self._connection: Connection = Connection(endpoint)
        self._found: Server | None = None
        self._others = dict[str, CompletionsServerModel]()
        self._finding = threading.Lock()  # held while the server is asked
        self._naming = threading.Lock()  # held for a moment
        self._tokens = KnownTokens()
        self._choices = KnownChoices(self._tokens)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_login(self._base_url)!r}, model={self._model!r})"

    def __reduce__(self) -> tuple[Callable[[], CompletionsServerModel], tuple[()]]:
        """Pickled are the settings, the key among them."""
        return self._again, ()

    @property
    def name(self) -> str:
        """The model's name; the server is asked for it if none was given."""
        return self._model or self.server().model

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The server's URL, the model's name and what is sent beside."""
        return {
            "engine": "completions server",
            "base_url": without_login(self._base_url),
            "model": self._model,
            "extra_body": repr(sorted(self._extra_body.items())),
            **({"uds": self._uds} if self._uds else {}),
        }

    @property
    def context_window(self) -> int | None:
        """Tokens of one request: what was given, or what the server says."""
        return self._window or self.server().window

    @property
    def known_context_window(self) -> int | None:
        """The context window, if it is known without asking the server."""
        return self._window or (self._found.window if self._found else None)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The server's tokenizer, if it offers one."""
        return self._ids if self.server().tokenizes else None

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, the begin-of-text token included; else a careful estimate."""
        tokenizer = self.tokenizer
        return len(tokenizer(text)) if tokenizer is not None else estimate_tokens(text)

    def server(self) -> Server:
        """What the server is; asked once."""
        with self._finding:
            if self._found is None:
                self._found = self._connection.run(self._discovery())
            return self._found

    async def aserver(self) -> Server:
        """As ``server``, without blocking the event loop."""
        if self._found is None:
            async with self._connection.once:
                if self._found is None:
                    self._found = await self._connection.arun(self._discovery())
        return self._found

    def with_model(self, name: str) -> CompletionsServerModel:
        """Another model of the same server, over the same connections; one object for each name."""
        with self._naming:
            if name not in self._others:
                other = self._again(model=name)
                other._connection, other._others = self._connection, self._others
                self._others[name] = other
            return self._others[name]

    @property
    def features(self) -> ModelFeatures:
        """What the server can do; it is asked once."""
        dialect = self.server().dialect
        return ModelFeatures(
            enforces_choices=dialect.choice is not None,
            scores_choices=dialect.choice is not None,
            enforces_json=dialect.json_schema is not None,
            schedules_requests=not dialect.lists,
            with_model=self.with_model,
        )

    def warm(self, prompt: Prompt | str) -> None:
        """Have the constant page computed now, so that the first request finds it.

        Args:
            prompt: The prompt, or its page's text.
        """
        self._connection.run(warmed(_page(prompt), self.server()))

    async def awarm(self, prompt: Prompt | str) -> None:
        """As ``warm``, without blocking the event loop."""
        await self._connection.arun(warmed(_page(prompt), await self.aserver()))

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete pages, all at once."""
        groups, exchanges = self._exchanges(requests, self.server())
        return _in_order(groups, self._connection.run_all(exchanges))

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        groups, exchanges = self._exchanges(requests, await self.aserver())
        return _in_order(groups, await self._connection.arun_all(exchanges))

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece; leaving early closes the connection."""
        server = self.server()
        if self._is_choice(request, server):
            yield from self.complete([request])
            return
        body = self._connection.run(self._streamed(request, server))
        yield from self._connection.stream(body, StreamReader(request, server.dialect))

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        server = await self.aserver()
        if self._is_choice(request, server):
            for completion in await self.acomplete([request]):
                yield completion
            return
        body = await self._connection.arun(self._streamed(request, server))
        reader = StreamReader(request, server.dialect)
        chunks = self._connection.astream(body, reader)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    def _discovery(self) -> Exchange[Server]:
        return discover(self._base_url, self._model, self._dialect)

    def _ids(self, text: str) -> list[int]:
        return list(self._connection.run(self._tokens.of(text, self.server())))

    @staticmethod
    def _is_choice(request: CompletionRequest, server: Server) -> bool:
        return isinstance(request.constraint, Choice) and server.dialect.choice is not None

    def _exchanges(
        self, requests: Sequence[CompletionRequest], server: Server
    ) -> tuple[list[list[int]], list[Exchange[list[Completion]]]]:
        """Group requests, by number, and say how each group is completed."""
        groups: dict[object, list[int]] = {}
        for number, request in enumerate(requests):
            alike = (request.parameters, request.stop, request.constraint)
            together = server.dialect.lists and not self._is_choice(request, server)
            groups.setdefault(alike if together else number, []).append(number)
        numbers = list(groups.values())
        return numbers, [self._completed([requests[n] for n in group], server) for group in numbers]

    def _completed(
        self, group: Sequence[CompletionRequest], server: Server
    ) -> Exchange[list[Completion]]:
        """Complete pages that differ in nothing else."""
        constraint = group[0].constraint
        if isinstance(constraint, Choice) and server.dialect.choice is not None:
            return [(yield from self._choices.of(group[0], constraint, server))]
        body = group_payload(group, server.model, server.dialect)
        body = yield from self._tokens.put_in(body, server)
        return completions_of((yield Ask(COMPLETIONS, body)), group, server.dialect)

    def _streamed(self, request: CompletionRequest, server: Server) -> Exchange[dict[str, Any]]:
        """The body of a streamed request."""
        body = completion_payload(request, server.model, server.dialect, stream=True)
        return (yield from self._tokens.put_in(body, server))


def _in_order(
    groups: Sequence[Sequence[int]], results: Sequence[Sequence[Completion]]
) -> list[Completion]:
    found = {
        number: completion
        for group, completions in zip(groups, results, strict=True)
        for number, completion in zip(group, completions, strict=True)
    }
    return [found[number] for number in sorted(found)]


def _page(prompt: Prompt | str) -> str:
    return prompt if isinstance(prompt, str) else prompt.prefix
