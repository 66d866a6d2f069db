"""The completion model that runs in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from urial_core.backends.transformers.source import Source
from urial_core.backends.transformers.window import config_file_window, window_of
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
)
from urial_core.errors import (
    GenerationError,
    MissingDependencyError,
    ParameterError,
    UnsupportedModelError,
    UrialError,
)
from urial_core.structured.constraints import JsonSchema

if TYPE_CHECKING:
    from urial_core.backends.transformers.engine import Engine, Step
    from urial_core.backends.transformers.tokenization import Tokenization

__all__ = ["DEFAULT_PREFIX_CACHE_BYTES", "TransformersModel"]

DEFAULT_PREFIX_CACHE_BYTES = 1 << 30
"""Most memory that kept keys and values may take: 1 GiB."""

_T = TypeVar("_T")


class TransformersModel:
    """A causal language model of transformers, with its pages' constant beginnings kept computed.

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
        prefix_cache_bytes: int = DEFAULT_PREFIX_CACHE_BYTES,
        max_batch_size: int = 16,
    ) -> None:
        """Name a model, or hand over one that is loaded.

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
            prefix_cache_bytes: Most memory that kept keys and values may take, in bytes.
            max_batch_size: Most replies written at once; longer batches go in parts.

        Raises:
            UnsupportedModelError: The object is no causal language model, or its tokenizer is
                missing or not a fast one.
            MissingDependencyError: torch or transformers is not installed.
            ParameterError: A size is out of range.
        """
        if prefix_cache_bytes < 0 or max_batch_size < 1:
            raise ParameterError(
                f"prefix_cache_bytes is {prefix_cache_bytes} and max_batch_size {max_batch_size}: "
                "give at least 0 and at least 1."
            )
        for package in ("torch", "transformers"):
            if find_spec(package) is None:
                raise MissingDependencyError(
                    f"Running a model in this process needs {package}: "
                    "pip install 'urial-chat[transformers]'"
                )
        self._prefix_cache_bytes = prefix_cache_bytes
        self._max_batch_size = max_batch_size
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="urial-engine")
        self._engine: Engine | None = None
        self._config: Any = None
        self._tokens: Tokenization | None = None
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
                model_kwargs=dict(model_kwargs or {}),
            )
        else:
            self._adopt(model, tokenizer)

    def _adopt(self, model: Any, tokenizer: Any) -> None:
        """Take objects that are loaded already."""
        config = getattr(model, "config", None)
        if config is None or not callable(getattr(model, "forward", None)):
            raise UnsupportedModelError(
                f"{type(model).__name__} is not a transformers model: pass a model id, or what "
                "AutoModelForCausalLM.from_pretrained returns."
            )
        if getattr(config, "is_encoder_decoder", False):
            raise UnsupportedModelError(
                f"{type(model).__name__} is an encoder-decoder model, and URIAL needs one that "
                "continues text: load one with AutoModelForCausalLM."
            )
        if tokenizer is None:
            raise UnsupportedModelError("A loaded model needs its tokenizer: pass both.")
        from urial_core.backends.transformers.tokenization import Tokenization

        self._loaded, self._config, self._tokens = model, config, Tokenization(tokenizer)
        self._source = Source(
            model_id=getattr(model, "name_or_path", "") or type(model).__name__,
            dtype=str(model.dtype),
            quantization_config=getattr(config, "quantization_config", None),
        )

    @property
    def name(self) -> str:
        """The model id."""
        return self._source.model_id

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Model id, revision, precision, quantization; and which object, if one was handed over."""
        shown = (
            "model_id",
            "revision",
            "dtype",
            "quantization_config",
            "attn_implementation",
            "model_kwargs",
        )
        cache_key = {name: str(getattr(self._source, name)) for name in shown}
        if self._loaded is not None:
            cache_key["object"] = hex(id(self._loaded))
        return {"engine": "transformers", **cache_key}

    @property
    def context_window(self) -> int | None:
        """The positions the model was built for."""
        return window_of(self._load_config().get_text_config(decoder=True).to_dict())

    @property
    def known_context_window(self) -> int | None:
        """The context window, if it is known without loading anything through transformers."""
        if self._config is not None:
            return self.context_window
        return config_file_window(self._source.model_id)

    @property
    def dtype(self) -> str:
        """The number format in use, such as "bfloat16"; loads the model."""
        engine = self._submit(self._ready_engine).result()
        return str(engine.model.dtype).removeprefix("torch.")

    def load(self) -> None:
        """Load the model now rather than at the first request."""
        self._submit(self._ready_engine).result()

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._tokenization().encode

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, the begin-of-text token included."""
        return len(self.tokenizer(text))

    @property
    def features(self) -> ModelFeatures:
        """Choices with their scores; JSON schemas if llguidance is installed."""
        enforces_json = find_spec("llguidance") is not None
        return ModelFeatures(
            enforces_choices=True,
            scores_choices=True,
            enforces_json=enforces_json,
            check_schema=_check_schema if enforces_json else None,
        )

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete pages as one batch."""
        pieces = _Pieces(len(requests))
        steps = self._steps(requests)
        try:
            while (step := self._submit(_advance, steps).result()) is not None:
                pieces.add(step)
        finally:
            self._end(steps)
        return pieces.completions()

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        pieces = _Pieces(len(requests))
        steps = self._steps(requests)
        try:
            while (step := await _wrapped(self._submit(_advance, steps))) is not None:
                pieces.add(step)
        finally:
            self._end(steps)
        return pieces.completions()

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page, a chunk for each token."""
        steps = self._steps([request])
        try:
            while (step := self._submit(_advance, steps).result()) is not None:
                for _, chunk in step:
                    yield chunk
        finally:
            self._end(steps)

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        steps = self._steps([request])
        try:
            while (step := await _wrapped(self._submit(_advance, steps))) is not None:
                for _, chunk in step:
                    yield chunk
        finally:
            self._end(steps)

    def _submit(self, job: Callable[..., _T], *args: Any) -> Future[_T]:
        return self._worker.submit(job, *args)

    def _end(self, steps: Generator[Step]) -> None:
        """Have the worker close the steps, behind the one under way, without waiting for it."""
        with suppress(RuntimeError):  # at the interpreter's exit, nothing is taken any more
            self._worker.submit(steps.close)

    def _steps(self, requests: Sequence[CompletionRequest]) -> Generator[Step]:
        """The engine's steps; run by the worker only."""
        try:
            yield from self._ready_engine().generate(requests)
        except UrialError:
            raise
        except Exception as error:
            raise GenerationError(f"{self.name} failed while writing: {error}") from error

    def _ready_engine(self) -> Engine:
        if self._engine is None:
            from urial_core.backends.transformers.engine import Engine
            from urial_core.backends.transformers.loading import load_model

            self._engine = Engine(
                load_model(self._source) if self._loaded is None else self._loaded,
                self._tokenization(),
                prefix_cache_bytes=self._prefix_cache_bytes,
                max_batch_size=self._max_batch_size,
            )
        return self._engine

    def _load_config(self) -> Any:
        with self._lock:
            if self._config is None:
                from urial_core.backends.transformers.loading import load_config

                self._config = load_config(self._source)
            return self._config

    def _tokenization(self) -> Tokenization:
        with self._lock:
            if self._tokens is None:
                from urial_core.backends.transformers.loading import load_tokenizer
                from urial_core.backends.transformers.tokenization import Tokenization

                self._tokens = Tokenization(load_tokenizer(self._source))
            return self._tokens


def _check_schema(schema: JsonSchema) -> None:
    from urial_core.structured.grammar import check_schema

    check_schema(schema)


def _advance(steps: Generator[Step]) -> Step | None:
    return next(steps, None)


async def _wrapped(future: Future[_T]) -> _T:
    return await asyncio.wrap_future(future)


class _Pieces:
    """Puts the chunks of a batch together."""

    def __init__(self, count: int) -> None:
        self._chunks = [list[CompletionChunk]() for _ in range(count)]

    def add(self, step: Step) -> None:
        for number, chunk in step:
            self._chunks[number].append(chunk)

    def completions(self) -> list[Completion]:
        return [
            CompletionChunk(
                text="".join(chunk.text for chunk in chunks),
                finish=chunks[-1].finish,
                usage=chunks[-1].usage,
                logprobs=tuple(logprob for chunk in chunks for logprob in chunk.logprobs),
            )
            for chunks in self._chunks
        ]
