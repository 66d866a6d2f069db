"""Run a transformers model in this process as a completion model."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from urial_core.backends.blocking import from_thread
from urial_core.backends.openmp import limit_spinning
from urial_core.backends.transformers.calls import Call, Deliveries, Item
from urial_core.backends.transformers.source import Source, context_window_of
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionModel,
    CompletionRequest,
    ModelFeatures,
)
from urial_core.errors import GenerationError, MissingDependencyError, ParameterError
from urial_core.structured.grammar import check_schema

if TYPE_CHECKING:
    from urial_core.backends.transformers.engine import Engine
    from urial_core.backends.transformers.tokenization import Tokenization

__all__ = ["TransformersModel"]

_T = TypeVar("_T")
_SECRET_KWARGS = ("token", "use_auth_token")
"""Names under which ``model_kwargs`` may hold the hub token."""


class TransformersModel(CompletionModel):
    """A causal language model of transformers, with a prefix cache.

    Nothing is loaded before it is needed. One worker thread owns the model. Any number of threads
    and event loops may call: a request joins those in progress at the next step, and each step
    generates a token of every reply (continuous batching).
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
        prefix_on_disk: bool = True,
        max_batch_size: int | None = None,
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
            prefix_on_disk: Whether prompt prefixes are also kept in the cache folder, 1 GiB of them
                at most, so that the next process need not compute them.
            max_batch_size: Most requests in progress; further ones wait for their turn. None: up to
                64, as many as half of the free memory holds at 2,048 tokens each.

        Raises:
            UnsupportedModelError: The object is not a causal language model, or its tokenizer is
                missing or not a fast one.
            MissingDependencyError: torch or transformers is not installed.
            ParameterError: A size is out of range.
        """
        if prefix_cache_bytes < 0 or (max_batch_size is not None and max_batch_size < 1):
            raise ParameterError(
                f"prefix_cache_bytes is {prefix_cache_bytes} and max_batch_size {max_batch_size}: "
                "pass at least 0 and at least 1."
            )
        MissingDependencyError.check(
            "Running a model in this process", "transformers", "torch", "transformers"
        )
        limit_spinning()
        self._prefix_cache_bytes = prefix_cache_bytes
        self._prefix_on_disk = prefix_on_disk
        self._max_batch_size = max_batch_size
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="urial-engine")
        self._worker_process: int | None = None  # that of its thread
        self._engine: Engine | None = None
        self._deliveries = Deliveries()
        self._stepping = False  # whether a job for the next step waits
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
    def info(self) -> Mapping[str, Any]:
        """What runs: the dtype, the device, its threads, whether weights are packed; loads it."""
        return self.run(_described)

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
        """Scored texts, every token, and JSON schemas if llguidance is installed."""
        enforces_json = find_spec("llguidance") is not None
        return ModelFeatures(
            enforces_choices=True,
            scores_choices=True,
            scores_texts=True,
            enforces_json=enforces_json,
            reports_every_token=True,
            check_schema=check_schema if enforces_json else None,
        )

    def run(self, job: Callable[[Engine], _T]) -> _T:
        """Run a job with the engine on the worker thread, between two steps; loads the model."""
        return self._submit(lambda: job(self._ready_engine())).result()

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Encode a conversation with the model's chat template (``Tokenization.encode_chat``)."""
        return self.run(lambda engine: engine.tokenization.encode_chat(messages))

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts, all in the same batch."""
        queue = SimpleQueue[Item]()
        with self._call(requests, queue.put) as call:
            while call.unfinished:
                call.take(self._get(queue))
        return call.completions()

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete prompts, all in the same batch, without blocking the event loop."""
        queue = asyncio.Queue[Item]()
        with self._call(requests, from_thread(queue)) as call:
            while call.unfinished:
                call.take(await queue.get())
        return call.completions()

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a prompt, a chunk for each step; closing it early cancels the request.

        Of many streams at once, each has longer chunks where steps follow each other fast.
        """
        queue = SimpleQueue[Item]()
        with self._call([request], queue.put, self._deliveries) as call:
            while call.unfinished:
                yield call.take(self._get(queue))

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Complete a prompt as ``stream`` does, without blocking the event loop."""
        queue = asyncio.Queue[Item]()
        with self._call([request], from_thread(queue), self._deliveries) as call:
            while call.unfinished:
                yield call.take(await queue.get())

    @contextmanager
    def _call(
        self,
        requests: Sequence[CompletionRequest],
        put: Callable[[Item], object],
        deliveries: Deliveries | None = None,
    ) -> Generator[Call]:
        """Have the worker complete requests; on exit, those that are unfinished are cancelled."""
        call = Call(self.name, requests, put, deliveries)
        self._submit(self._begin, call)
        try:
            yield call
        finally:
            call.cancel()

    def _begin(self, call: Call) -> None:
        """Add a call's requests to the batch; only the worker may."""
        for receiver in call.receivers:
            try:
                self._ready_engine().add(receiver.request, receiver)
            except Exception as error:  # noqa: BLE001 - raised again in the caller
                receiver.receive(error)
        if not self._stepping:
            self._step_later()

    def _step(self) -> None:
        if self._engine is not None:
            try:
                self._engine.step()
            except Exception as error:  # noqa: BLE001 - else the callers would wait for ever
                self._engine.fail(error)
            self._deliveries.deliver()
        self._step_later()

    def _step_later(self) -> None:
        """Have the worker take a step, if one is due, after the jobs that wait for it already."""
        engine = self._engine
        self._stepping = engine is not None and engine.busy
        if engine is not None and self._stepping:
            try:
                self._worker.submit(self._step)
            except RuntimeError as error:  # at the interpreter's exit, no jobs are taken
                engine.fail(error)

    def _get(self, queue: SimpleQueue[Item]) -> Item:
        self._check_process()
        return queue.get()

    def _submit(self, job: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """Have the worker run a job.

        Raises:
            GenerationError: As ``_check_process``.
        """
        self._check_process()
        self._worker_process = os.getpid()
        return self._worker.submit(job, *arguments)

    def _check_process(self) -> None:
        """Check that the worker is a thread of this process.

        Raises:
            GenerationError: It is one of the process that this one was forked from.
        """
        if self._worker_process not in (None, os.getpid()):
            raise GenerationError(
                f"{self.name} was in use before this process was forked, and its thread and "
                "torch's are not in this one. Load the model after the fork, or start processes "
                "with multiprocessing's 'spawn'."
            )

    def _ready_engine(self) -> Engine:
        if self._engine is None:
            from urial_core.backends.transformers.engine import Engine
            from urial_core.backends.transformers.loading import load_model

            model = load_model(self._source) if self._loaded is None else self._loaded
            self._engine = Engine(
                model,
                self._tokenization(),
                self._prefix_cache_bytes,
                self._max_batch_size,
                prefix_on_disk=self._prefix_on_disk,
            )
        return self._engine

    def _tokenization(self) -> Tokenization:
        with self._lock:
            if self._tokens is None:
                from urial_core.backends.transformers.loading import load_tokenizer
                from urial_core.backends.transformers.tokenization import Tokenization

                self._tokens = Tokenization(load_tokenizer(self._source))
            return self._tokens


def _described(engine: Engine) -> Mapping[str, Any]:
    import torch

    from urial_core.backends.transformers.packed_linear import are_packed

    model = engine.model
    kind = model.device.type
    names = {"cpu": "CPU", "mps": "Apple GPU"}
    return {
        "backend": "transformers",
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if kind == "cuda" else names.get(kind, kind),
        "threads": torch.get_num_threads(),
        "packed_weights": are_packed(model),
    }
