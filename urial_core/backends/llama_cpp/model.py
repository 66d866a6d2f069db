"""The completion model that llama.cpp runs in this process."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import finalize

from urial_core.backends.completions_server import LLAMA_CPP, CompletionsServerModel
from urial_core.backends.gguf_file import check_gguf
from urial_core.backends.llama_cpp.default_sizes import default_slots, default_window
from urial_core.backends.llama_cpp.prefix_files import PrefixFiles
from urial_core.backends.llama_cpp.private_server import PrivateServer
from urial_core.backends.llama_cpp.slot_shares import SlotShares
from urial_core.backends.openmp import compute_threads, limit_spinning
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
from urial_core.structured.grammar import check_schema, lark_grammar_of

__all__ = ["NEEDED_PACKAGES", "LlamaCppModel"]

NEEDED_PACKAGES = ("xllamacpp", "openai", "llguidance")
"""Packages that must be installed; the extra ``llamacpp`` brings them."""

_TIMEOUT = 7 * 24 * 3600.0
"""Seconds to wait for a reply's next piece: it may be queued, and a prefill may take long."""


_DIALECT = replace(
    LLAMA_CPP, json_schema=lambda constraint: {"grammar": lark_grammar_of(constraint)}
)
"""xllamacpp's llama.cpp is built with llguidance, whose grammars fix the whitespace too."""


class LlamaCppModel(CompletionModel):
    """A GGUF file run by llama.cpp, with prompt prefixes in the KV caches of its slots.

    Nothing is loaded before it is needed. Any number of threads and event loops may call: as many
    replies as there are slots are generated concurrently (continuous batching), others are queued.
    JSON is constrained by llguidance, as in ``TransformersModel``.

    While the file is loaded, xllamacpp holds Python's global interpreter lock, so that all other
    threads wait: call ``load`` before an application takes requests.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        n_ctx: int | None = None,
        n_parallel: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int | None = None,
        prefix_on_disk: bool = True,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Set up a file's model.

        Args:
            model: A ``.gguf`` file of a base model.
            n_ctx: The context window of one request in tokens, prompt and reply together; at most
                the one that the model was trained for is used. Memory is allocated for
                ``n_parallel`` of them. Default: what the model was trained for, at most 32,768,
                and, down to 4,096, what makes that memory an eighth of what is available.
            n_parallel: The number of concurrent replies; further ones wait. Default: 16, 8 or 4,
                the most that an eighth of the available memory allows, for windows of ``n_ctx`` or
                8,192 tokens.
            n_threads: The number of compute threads. Default: ``OMP_NUM_THREADS`` if set, as for
                torch; else one for each core.
            n_gpu_layers: The number of layers on the GPU, where llama.cpp was built for one.
                Default: as many as fit.
            prefix_on_disk: Whether prompt prefixes are also kept in the cache folder, 1 GiB of them
                at most, so that the next process need not compute them.
            params: Other members of ``xllamacpp.CommonParams``, such as ``main_gpu``.

        Raises:
            MissingDependencyError: xllamacpp or openai is not installed.
            ParameterError: A size is out of range.
        """
        MissingDependencyError.check(
            "Running llama.cpp in this process", "llamacpp", *NEEDED_PACKAGES
        )
        limit_spinning()
        self._name = str(model)
        self._path = str(Path(model).expanduser())
        self._prefix_on_disk = prefix_on_disk
        self._options: dict[str, Any] = {
            "n_ctx": n_ctx,
            "n_parallel": n_parallel,
            "n_threads": n_threads,
            "n_gpu_layers": n_gpu_layers,
            "params": dict(params or {}),
        }
        if any(size is not None and size < 1 for size in (n_ctx, n_parallel, n_threads)):
            raise ParameterError(
                f"n_ctx is {n_ctx}, n_parallel {n_parallel} and n_threads {n_threads}: give "
                "at least 1 each."
            )
        self._lock = threading.RLock()
        self._client: CompletionsServerModel | None = None
        self._files: PrefixFiles  # set with the client, as are the shares
        self._shares: SlotShares

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"

    def __reduce__(self) -> tuple[Callable[[], LlamaCppModel], tuple[()]]:
        """Pickle the constructor's arguments; the copy loads the file itself."""
        options = {**self._options, "prefix_on_disk": self._prefix_on_disk}
        return partial(type(self), self._name, **options), ()

    @property
    def name(self) -> str:
        """The file, as it was given."""
        return self._name

    @property
    def n_threads(self) -> int:
        """The number of compute threads."""
        given: int | None = self._options["n_threads"]
        return compute_threads() if given is None else given

    @property
    def info(self) -> Mapping[str, Any]:
        """What runs: the threads, the slots, the window of each; loads the model."""
        server = self._loaded().server()
        return {
            "backend": "llama.cpp",
            "threads": self.n_threads,
            "slots": server.slots,
            "context_window": self.context_window,
        }

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The file, and the options that decide the output."""
        options = {name: str(value) for name, value in self._options.items() if name != "n_threads"}
        return {"backend": "llama.cpp", "path": self._path, **options}

    @property
    def context_window(self) -> int | None:
        """The context window of one request, in tokens; loads the model."""
        return self._loaded().context_window

    @property
    def known_context_window(self) -> int | None:
        """The context window, if the model is loaded."""
        return self._client.context_window if self._client is not None else None

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer in the file; loads the model."""
        return self._loaded().tokenizer

    @property
    def features(self) -> ModelFeatures:
        """Choices with their scores, and JSON schemas."""
        return ModelFeatures(
            enforces_choices=True,
            scores_choices=True,
            enforces_json=True,
            check_schema=check_schema,
        )

    def load(self) -> None:
        """Load the model now rather than at the first request."""
        self._loaded()

    def close(self) -> None:
        """Free the model's memory; the next request loads it again."""
        with self._lock:
            if self._client is not None:
                self._client = None
                self._finalizer()

    def warm(self, prompt: Prompt | str) -> None:
        """Compute a prompt's prefix now rather than at the first request.

        It is in every slot that it may have then (see ``SlotShares``). Requests copy it into one
        more each.

        Args:
            prompt: The prompt, or its prefix's text.
        """
        self._warm(prompt if isinstance(prompt, str) else prompt.prefix)

    async def awarm(self, prompt: Prompt | str) -> None:
        """As ``warm``, without blocking the event loop; see above on loading, however."""
        await asyncio.to_thread(self.warm, prompt)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts concurrently."""
        return self._ready(requests).complete(requests)

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        client = await asyncio.to_thread(self._ready, requests)
        return await client.acomplete(requests)

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion; closing early stops the model."""
        return self._ready([request]).stream(request)

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        client = await asyncio.to_thread(self._ready, [request])
        async with InnerStream(client.astream(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _loaded(self) -> CompletionsServerModel:
        if (loaded := self._client) is not None:
            return loaded  # without waiting for a prefix that is being computed
        with self._lock:
            if self._client is None:
                check_gguf(self._path, for_llama_cpp=True)
                options = {**self._options, "n_threads": self.n_threads}
                if options["n_parallel"] is None:
                    options["n_parallel"] = default_slots(self._path, options["n_ctx"])
                if options["n_ctx"] is None:
                    options["n_ctx"] = default_window(self._path, options["n_parallel"])
                server = PrivateServer(self._path, **options)
                self._finalizer = finalize(self, server.close)
                self._files = PrefixFiles(
                    self._path,
                    options["params"],
                    options["n_parallel"],
                    server.slots,
                    on_disk=self._prefix_on_disk,
                )
                client = CompletionsServerModel(
                    server.base_url,
                    api_key=server.key,
                    uds=server.uds,
                    dialect=_DIALECT,
                    timeout=_TIMEOUT,
                    max_retries=0,
                )
                self._finalizer.detach()
                # A server that still writes to someone would not end.
                self._finalizer = finalize(self, partial(_close, client, server))
                self._shares = SlotShares(client.server().slots)
                self._client = client
            return self._client

    def _ready(self, requests: Sequence[CompletionRequest]) -> CompletionsServerModel:
        """Load the model and see that each request finds a slot with its prompt prefix."""
        prefixes = Counter(request.prompt[: request.prefix_length] for request in requests)
        for prefix, count in prefixes.items():
            self._warm(prefix, count)
        return self._loaded()

    def _warm(self, prefix: str, count: int | None = None) -> None:
        """Have a prefix in ``count`` more slots; in all that it may have by default."""
        client = self._loaded()
        if prefix:
            with self._shares.filling(prefix, count) as slots:
                if slots:
                    self._files.warm(client, prefix, slots)


def _close(client: CompletionsServerModel, server: PrivateServer) -> None:
    client.disconnect()
    server.close()
