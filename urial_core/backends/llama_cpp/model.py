"""The completion model that llama.cpp runs in this process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from urial_core.backends.completions_server import LLAMA_CPP, CompletionsServerModel
from urial_core.backends.llama_cpp.private_server import PrivateServer, ServerSettings
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
)
from urial_core.errors import MissingDependencyError, ParameterError
from urial_core.structured.constraints import JsonSchema

if TYPE_CHECKING:
    from urial_core.prompts.prompt import Prompt

__all__ = ["DEFAULT_N_CTX", "DEFAULT_N_PARALLEL", "NEEDED_PACKAGES", "LlamaCppModel"]

NEEDED_PACKAGES = ("xllamacpp", "openai", "llguidance")
"""What must be installed; the extra ``llamacpp`` brings it."""

DEFAULT_N_CTX = 4096
"""Tokens of one request's window."""

DEFAULT_N_PARALLEL = 4
"""Replies that are written at once."""

_PATIENCE = 7 * 24 * 3600.0
"""Seconds to wait for a reply's next piece: it may wait for others, and reading may take long."""


class LlamaCppModel:
    """A GGUF file run by llama.cpp, with the constant page kept computed in every slot.

    Nothing is loaded before it is needed. Any number of threads and event loops may call: as many
    replies as there are slots are written side by side, others wait. JSON is held to its schema by
    llguidance, as in ``TransformersModel``.

    While the file is loaded, xllamacpp keeps Python's global lock, so that all other threads wait:
    call ``load`` before an application takes requests.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        n_ctx: int = DEFAULT_N_CTX,
        n_parallel: int = DEFAULT_N_PARALLEL,
        n_threads: int | None = None,
        n_gpu_layers: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Name a file.

        Args:
            model: A ``.gguf`` file of a base model.
            n_ctx: Tokens of one request's window, page and reply together; no more are used than
                the model was trained for. Memory is taken for ``n_parallel`` of them.
            n_parallel: How many replies are written at once.
            n_threads: Threads that compute. Default: one for each core.
            n_gpu_layers: Layers on the GPU, where llama.cpp was built for one. Default: as many as
                fit.
            params: Anything else of ``xllamacpp.CommonParams``, such as ``main_gpu``.

        Raises:
            MissingDependencyError: xllamacpp or openai is not installed.
            ParameterError: A size is out of range.
        """
        for package in NEEDED_PACKAGES:
            if find_spec(package) is None:
                raise MissingDependencyError(
                    f"Running llama.cpp in this process needs {package}: "
                    "pip install 'urial-chat[llamacpp]'"
                )
        threads = _cores() if n_threads is None else n_threads
        if min(n_ctx, n_parallel, threads) < 1:
            raise ParameterError(
                f"n_ctx is {n_ctx}, n_parallel {n_parallel} and n_threads {threads}: give at "
                "least 1 each."
            )
        self._settings = ServerSettings(
            path=str(Path(model).expanduser()),
            n_ctx=n_ctx,
            n_parallel=n_parallel,
            n_threads=threads,
            n_gpu_layers=n_gpu_layers,
            params=dict(params or {}),
        )
        self._again = partial(
            type(self),
            model,
            n_ctx=n_ctx,
            n_parallel=n_parallel,
            n_threads=n_threads,
            n_gpu_layers=n_gpu_layers,
            params=params,
        )
        self._name = str(model)
        self._lock = threading.RLock()
        self._client: CompletionsServerModel | None = None
        self._warm = set[str]()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"

    def __reduce__(self) -> tuple[Callable[[], LlamaCppModel], tuple[()]]:
        """Pickled are the settings; the file is loaded anew."""
        return self._again, ()

    @property
    def name(self) -> str:
        """The file, as it was named."""
        return self._name

    @property
    def n_threads(self) -> int:
        """Threads that compute."""
        return self._settings.n_threads

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The file, and whatever else decides what it writes."""
        settings = asdict(self._settings)
        del settings["n_threads"]
        return {"engine": "llama.cpp", **{name: str(value) for name, value in settings.items()}}

    @property
    def context_window(self) -> int | None:
        """Tokens of one request; loads the model."""
        return self._loaded().context_window

    @property
    def known_context_window(self) -> int | None:
        """The context window, if the model is loaded."""
        return self._client.context_window if self._client is not None else None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer in the file; loads the model."""
        encode = self._loaded().tokenizer
        assert encode is not None
        return encode

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, the begin-of-text token included."""
        return self._loaded().count_tokens(text)

    @property
    def features(self) -> ModelFeatures:
        """Choices with their scores, JSON schemas, and as many requests at once as slots."""
        return ModelFeatures(
            enforces_choices=True,
            scores_choices=True,
            enforces_json=True,
            check_schema=_check_schema,
            schedules_requests=True,
        )

    def load(self) -> None:
        """Load the model now rather than at the first request."""
        self._loaded()

    def close(self) -> None:
        """Free the model's memory; the next request loads it anew."""
        with self._lock:
            if self._client is not None:
                self._client = None
                self._warm.clear()
                self._closing()

    def warm(self, prompt: Prompt | str) -> None:
        """Have a prompt's constant page computed in every slot now; the first request does it else.

        Args:
            prompt: The prompt, or its page's text.
        """
        self._prepared(prompt if isinstance(prompt, str) else prompt.prefix)

    async def awarm(self, prompt: Prompt | str) -> None:
        """As ``warm``, without blocking the event loop; but see above for loading."""
        await asyncio.to_thread(self.warm, prompt)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete pages, all at once."""
        return self._ready(requests).complete(requests)

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        client = await asyncio.to_thread(self._ready, requests)
        return await client.acomplete(requests)

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece; leaving early stops the model."""
        return self._ready([request]).stream(request)

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        client = await asyncio.to_thread(self._ready, [request])
        async with aclosing(client.astream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _loaded(self) -> CompletionsServerModel:
        with self._lock:
            if self._client is None:
                server = PrivateServer(self._settings)
                self._closing = finalize(self, server.close)
                self._client = CompletionsServerModel(
                    server.base_url,
                    api_key=server.key,
                    uds=server.uds,
                    dialect=_DIALECT,
                    timeout=_PATIENCE,
                    max_retries=0,
                )
                self._client.server()
            return self._client

    def _ready(self, requests: Sequence[CompletionRequest]) -> CompletionsServerModel:
        """Load the model, with the requests' constant pages computed."""
        for page in {request.prompt[: request.prefix_length] for request in requests}:
            self._prepared(page)
        return self._loaded()

    def _prepared(self, page: str) -> None:
        client = self._loaded()
        if not page or page in self._warm:
            return
        with self._lock:  # whoever comes meanwhile needs the page as well
            if page not in self._warm:
                client.warm(page)
                self._warm.add(page)


def _check_schema(schema: JsonSchema) -> None:
    from urial_core.structured.grammar import check_schema

    check_schema(schema)


def _json_fields(schema: JsonSchema) -> dict[str, Any]:
    from urial_core.structured.grammar import lark_grammar_of

    return {"grammar": lark_grammar_of(schema)}


_DIALECT = replace(LLAMA_CPP, json_schema=_json_fields)
"""xllamacpp's llama.cpp is built with llguidance, which holds to the form that was promised."""


def _cores() -> int:
    """Cores that this process may use; of many, half are taken for a second thread of the same."""
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    usable = known or 1
    return usable if usable <= 4 else usable // 2
