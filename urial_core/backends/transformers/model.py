"""Run a transformers model in this process as a completion model."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from urial_core.backends.transformers.source import Source, context_window_of
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    joined,
)
from urial_core.errors import GenerationError, MissingDependencyError, ParameterError, UrialError
from urial_core.structured.grammar import check_schema

if TYPE_CHECKING:
    from urial_core.backends.transformers.engine import Engine, Step
    from urial_core.backends.transformers.tokenization import Tokenization

__all__ = ["TransformersModel"]

_T = TypeVar("_T")
_SECRET_KWARGS = ("token", "use_auth_token")
"""Names under which ``model_kwargs`` may hold the hub token."""


class TransformersModel:
    """A causal language model of transformers, with a prefix cache.

    Nothing is loaded before it is needed. One worker thread owns the model, and every step of every
    request is a job of its own there: any number of threads and event loops may call, their
    requests take turns token by token, and none can block another for longer than one step.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        dtype: Any = "auto",
        device_map: Any = None,
        quantization_config: Any = None,
        attn_implementation: str | None = None,
        revision: str | None = None,
        token: str | None = None,
        trust_remote_code: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        prefix_cache_bytes: int = 1 << 30,
        max_batch_size: int = 16,
    ) -> None:
        """Name a model, or pass one that is loaded.

        Args:
            model: A hub id, a local folder or a ``.gguf`` file (converted once, then cached); or a
                loaded causal language model.
            tokenizer: A loaded model's fast tokenizer.
            dtype: "auto" (the fastest the machine computes in), a dtype or its name.
            device_map: As in transformers' ``from_pretrained``. None: the best single device.
            quantization_config: As in ``from_pretrained``.
            attn_implementation: As in ``from_pretrained``.
            revision: A revision on the hub.
            token: A token for the hub; never shown.
            trust_remote_code: Whether code from the model's repository may run here.
            model_kwargs: Anything else for ``from_pretrained``.
            prefix_cache_bytes: Most memory that the prefix cache may take, 1 GiB by default.
            max_batch_size: Most replies decoded at once; longer batches are split.

        Raises:
            UnsupportedModelError: The object is not a causal language model, or its tokenizer is
                missing or not a fast one.
            MissingDependencyError: torch or transformers is not installed.
            ParameterError: A size is out of range.
        """
        if prefix_cache_bytes < 0 or max_batch_size < 1:
            raise ParameterError(
                f"prefix_cache_bytes is {prefix_cache_bytes} and max_batch_size {max_batch_size}: "
                "pass at least 0 and at least 1."
            )
        MissingDependencyError.check(
            "Running a model in this process", "transformers", "torch", "transformers"
        )
        self._prefix_cache_bytes = prefix_cache_bytes
        self._max_batch_size = max_batch_size
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="urial-engine")
        self._worker_process: int | None = None  # that of its thread
        self._engine: Engine | None = None
        self._config: Any = None
        self._tokens: Tokenization | None = None
        model_kwargs = dict(model_kwargs or {})
        for name in _SECRET_KWARGS:
            token = model_kwargs.pop(name, None) or token
        if isinstance(model, (str, Path)):
            self._loaded: Any = None
            self._source = Source(
                model_id=str(model),
                dtype=dtype,
                device_map=device_map,
                quantization_config=quantization_config,
                attn_implementation=attn_implementation,
                revision=revision,
                token=token,
                trust_remote_code=trust_remote_code,
                model_kwargs=model_kwargs,
            )
        else:
            from urial_core.backends.transformers.tokenization import Tokenization

            self._source = Source.of(model)
            self._loaded, self._config, self._tokens = model, model.config, Tokenization(tokenizer)

    @property
    def name(self) -> str:
        """The model id."""
        return self._source.model_id

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Model id, revision, dtype and options; and which object, if a loaded one was passed."""
        private = ("device_map", "token", "trust_remote_code")
        shown = {name: str(v) for name, v in vars(self._source).items() if name not in private}
        if self._loaded is not None:
            shown["object"] = hex(id(self._loaded))
        return {"backend": "transformers", **shown}

    @property
    def context_window(self) -> int | None:
        """The context window that the model was built for, in tokens; loads its configuration."""
        with self._lock:
            if self._config is None:
                from urial_core.backends.transformers.loading import load_config

                self._config = load_config(self._source)
        return context_window_of(self._config.get_text_config(decoder=True).to_dict())

    @property
    def known_context_window(self) -> int | None:
        """The context window, if it is known without loading anything through transformers."""
        return self._source.context_window if self._config is None else self.context_window

    @property
    def dtype(self) -> str:
        """The number format in use, such as "bfloat16"; loads the model."""
        model = self._submit(self._ready_engine).result().model
        return str(model.dtype).removeprefix("torch.")

    def load(self) -> None:
        """Load the model now rather than at the first request."""
        self._submit(self._ready_engine).result()

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's own tokenizer; loads it."""
        return self._tokenization().encode

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, the begin-of-text token included."""
        return len(self.tokenizer(text))

    @property
    def features(self) -> ModelFeatures:
        """Scored choices; constrained decoding of JSON if llguidance is installed."""
        enforces_json = find_spec("llguidance") is not None
        return ModelFeatures(
            enforces_choices=True,
            scores_choices=True,
            enforces_json=enforces_json,
            check_schema=check_schema if enforces_json else None,
        )

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts as one batch."""
        with self._steps(requests) as advance:
            return _completions(requests, list(iter(lambda: advance().result(), None)))

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts as one batch without blocking the event loop."""
        steps: list[Step] = []
        with self._steps(requests) as advance:
            while (step := await asyncio.wrap_future(advance())) is not None:
                steps.append(step)
        return _completions(requests, steps)

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a prompt, a chunk for each token; closing it early cancels the request."""
        with self._steps([request]) as advance:
            while (step := advance().result()) is not None:
                for _, chunk in step:
                    yield chunk

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Complete a prompt as ``stream`` does, without blocking the event loop."""
        with self._steps([request]) as advance:
            while (step := await asyncio.wrap_future(advance())) is not None:
                for _, chunk in step:
                    yield chunk

    @contextmanager
    def _steps(
        self, requests: Sequence[CompletionRequest]
    ) -> Generator[Callable[[], Future[Step | None]]]:
        """Return a function that has the worker run the next step; it yields None at the end.

        On exit, the worker closes the generator after the current step; nobody waits for it.
        """
        steps = self._generate(requests)
        _running.add(steps)
        try:
            yield lambda: self._submit(next, steps, None)
        finally:
            # At the interpreter's exit, and in a forked process, no jobs are taken.
            with suppress(RuntimeError, GenerationError):
                self._submit(steps.close)

    def _submit(self, job: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """Have the worker run a job.

        Raises:
            GenerationError: The worker is a thread of the process that this one was forked from.
        """
        process = os.getpid()
        if self._worker_process not in (None, process):
            raise GenerationError(
                f"{self.name} was in use before this process was forked, and its thread and "
                "torch's are not in this one. Load the model after the fork, or start processes "
                "with multiprocessing's 'spawn'."
            )
        self._worker_process = process
        return self._worker.submit(job, *arguments)

    def _generate(self, requests: Sequence[CompletionRequest]) -> Generator[Step]:
        """Yield the engine's steps; only the worker may run it."""
        try:
            yield from self._ready_engine().generate(requests)
        except UrialError:
            raise
        except Exception as error:
            raise GenerationError(f"{self.name} failed during generation: {error}") from error

    def _ready_engine(self) -> Engine:
        if self._engine is None:
            from urial_core.backends.transformers.engine import Engine
            from urial_core.backends.transformers.loading import load_model

            model = load_model(self._source) if self._loaded is None else self._loaded
            self._engine = Engine(
                model, self._tokenization(), self._prefix_cache_bytes, self._max_batch_size
            )
        return self._engine

    def _tokenization(self) -> Tokenization:
        with self._lock:
            if self._tokens is None:
                from urial_core.backends.transformers.loading import load_tokenizer
                from urial_core.backends.transformers.tokenization import Tokenization

                self._tokens = Tokenization(load_tokenizer(self._source))
            return self._tokens


_running = WeakSet[Generator[Any]]()
"""Requests in progress, all models' together."""


@atexit.register
def _cancel_running() -> None:
    """Close what is left at the interpreter's exit: torch aborts if its tensors go any later.

    The workers have ended by then.
    """
    for steps in list(_running):
        with suppress(Exception):
            steps.close()


def _completions(requests: Sequence[CompletionRequest], steps: list[Step]) -> list[Completion]:
    """Join each request's chunks; the last holds its finish and usage."""
    chunks = [list[CompletionChunk]() for _ in requests]
    for number, chunk in chain.from_iterable(steps):
        chunks[number].append(chunk)
    return [joined(own) for own in chunks]
