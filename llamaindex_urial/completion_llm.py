"""LlamaIndex LLMs as completion models of the core: any class, and Ollama by its raw mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import closing, nullcontext
from typing import Any

from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms.llm import LLM

from llamaindex_urial.capabilities import capabilities_of
from llamaindex_urial.closing import QuietStream, closing_quietly
from urial_core.backends.blocking import SingleRequestModel, worker_for
from urial_core.backends.wrapping import same_names, with_fields
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
    Usage,
)
from urial_core.inner_stream import InnerStream
from urial_core.parameters import DRY, RULES, SAMPLING
from urial_core.structured.constraints import JsonSchema

__all__ = ["CompletionLLM", "OllamaModel"]

_OLLAMA_OPTIONS = same_names(
    *(name for name in SAMPLING if name not in (*DRY, *RULES)),
    max_tokens="num_predict",
    repetition_penalty="repeat_penalty",
)


class CompletionLLM(SingleRequestModel):
    """Calls a LlamaIndex LLM as its class requires, without its own templates.

    The LLM keeps its own callback manager: handlers of the outer LLM get only the trimmed reply.
    """

    def __init__(self, llm: LLM, call: Mapping[str, Any] | None = None) -> None:
        """Wrap an LLM.

        Args:
            llm: The LLM.
            call: Keyword arguments for every call.
        """
        self._llm = llm
        self._can = capabilities_of(llm)
        self._call = dict(call or {})
        self.is_async = self._can.is_async
        self.worker = None if self._can.thread_safe else worker_for(llm)

    @property
    def name(self) -> str:
        """The name in the LLM's metadata, or its class's."""
        name = self._llm.metadata.model_name
        return name if name != "unknown" else type(self._llm).__name__

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The LLM's class and its fields, without callables and what looks like a secret."""
        fields = self._llm.to_dict()
        return {
            "backend": type(self._llm).__name__,
            **{k: v for k, v in fields.items() if "key" not in k and "headers" not in k},
            "call": sorted(self._call.items()),
        }

    @property
    def context_window(self) -> int | None:
        """The window in the LLM's metadata, where it is known to be the model's."""
        return self._llm.metadata.context_window if self._can.knows_window else None

    @property
    def known_context_window(self) -> int | None:
        """The context window in the LLM's metadata."""
        return self.context_window

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The LLM's own tokenizer, if it has one."""
        if "tokenizer" not in type(self._llm).model_fields:
            return None
        return getattr(getattr(self._llm, "_tokenizer", None), "encode", None)

    @property
    def may_echo(self) -> bool:
        """True: some classes return the prompt, too."""
        return True

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas, where the class can; other models and keyword arguments of its calls."""
        return ModelFeatures(
            enforces_json=self._can.json_schema is not None,
            with_arguments=self._with_arguments,
            with_model=lambda model: self._with_arguments({"model": model}),
        )

    def _with_arguments(self, more: Mapping[str, Any]) -> CompletionLLM:
        return CompletionLLM(self._llm, {**self._call, **more})

    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a prompt."""
        llm, call = self._prepared(request)
        return _whole(llm.complete(request.prompt, formatted=True, **call))

    async def acomplete_one(self, request: CompletionRequest) -> Completion:
        """As ``complete_one``, without blocking the event loop."""
        llm, call = self._prepared(request)
        return _whole(await llm.acomplete(request.prompt, formatted=True, **call))

    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion, as one chunk where the class does not stream."""
        llm, call = self._prepared(request)
        text = ""
        if not self._can.streams:
            yield self.complete_one(request)
            return
        items = llm.stream_complete(request.prompt, formatted=True, **call)
        with closing_quietly(items):
            for item in items:
                yield _chunk(item, text)
                text = item.text

    async def astream_one(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream_one``, without blocking the event loop."""
        llm, call = self._prepared(request)
        text = ""
        if not self._can.streams:
            yield await self.acomplete_one(request)
            return
        source: Any = await llm.astream_complete(request.prompt, formatted=True, **call)
        async with (
            QuietStream(source) if isinstance(source, AsyncGenerator) else nullcontext(source)
        ) as items:
            async for item in items:
                yield _chunk(item, text)
                text = item.text

    def _prepared(self, request: CompletionRequest) -> tuple[LLM, dict[str, Any]]:
        """Return a copy of the LLM set to this request's parameters, and the call's arguments."""
        can = self._can
        changes = request.parameters.under_names(can.fields)
        call = request.parameters.under_names(can.arguments)
        if can.stop:
            call[can.stop] = list(request.stop)[: can.max_stops]
        if can.json_schema and isinstance(request.constraint, JsonSchema):
            call |= can.json_schema(request.constraint)
        if can.extra_field:
            extra = getattr(self._llm, can.extra_field)
            changes[can.extra_field] = {k: v for k, v in extra.items() if k != "stop"}
        return with_fields(self._llm, changes), {**call, **self._call}


class OllamaModel(SingleRequestModel):
    """Calls the clients of a ``llama_index.llms.ollama.Ollama`` in raw mode.

    The class itself always has the server apply its chat template to a prompt. Its clients can
    leave that out (``raw``), and pass stop strings and parameters (``options``).
    """

    is_async = True

    def __init__(self, llm: Any, call: Mapping[str, Any] | None = None) -> None:
        """Wrap the LLM, with more keyword arguments for every call of its clients."""
        self._llm = llm
        self._call = dict(call or {})

    @property
    def name(self) -> str:
        """The model's name at the server."""
        return str(self._llm.model)

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """Server, model and options."""
        return {
            "backend": "Ollama",
            "base_url": self._llm.base_url,
            "model": self._llm.model,
            "temperature": self._llm.temperature,
            "options": sorted(self._llm.additional_kwargs.items()),
            "call": sorted(self._call.items()),
        }

    @property
    def context_window(self) -> int:
        """The window that the LLM requests from the server; the server is asked for it once."""
        return int(self._llm.get_context_window())

    @property
    def known_context_window(self) -> int | None:
        """The window, if it is set."""
        window = int(self._llm.context_window)
        return window if window > 0 else None

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas, by ``format``; other models and arguments of the clients' calls."""
        return ModelFeatures(
            enforces_json=True,
            with_arguments=self._with_arguments,
            with_model=lambda model: self._with_arguments({"model": model}),
        )

    def _with_arguments(self, more: Mapping[str, Any]) -> OllamaModel:
        return OllamaModel(self._llm, {**self._call, **more})

    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a prompt."""
        return _ollama_chunk(self._llm.client.generate(**self._arguments(request), stream=False))

    async def acomplete_one(self, request: CompletionRequest) -> Completion:
        """As ``complete_one``, without blocking the event loop."""
        arguments = await asyncio.to_thread(self._arguments, request)
        return _ollama_chunk(await self._llm.async_client.generate(**arguments, stream=False))

    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion."""
        with closing(self._llm.client.generate(**self._arguments(request), stream=True)) as parts:
            for part in parts:
                yield _ollama_chunk(part)

    async def astream_one(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream_one``, without blocking the event loop."""
        arguments = await asyncio.to_thread(self._arguments, request)
        source = await self._llm.async_client.generate(**arguments, stream=True)
        async with InnerStream(source) as parts:
            async for part in parts:
                yield _ollama_chunk(part)

    def _arguments(self, request: CompletionRequest) -> dict[str, Any]:
        """Return the arguments of a call; the server may have to be asked for the window."""
        own = {key: value for key, value in self._llm.additional_kwargs.items() if key != "stop"}
        options = {
            "temperature": self._llm.temperature,
            **own,
            **request.parameters.under_names(_OLLAMA_OPTIONS),
            "num_ctx": self.context_window,  # else the server silently truncates longer prompts
            "stop": list(request.stop),
        }
        constraint = request.constraint
        return {
            "model": self._llm.model,
            "prompt": request.prompt,
            "raw": True,
            "format": constraint.schema if isinstance(constraint, JsonSchema) else None,
            "options": {name: value for name, value in options.items() if value is not None},
            "keep_alive": self._llm.keep_alive,
            **self._call,
        }


def _chunk(item: CompletionResponse, before: str) -> CompletionChunk:
    """Make a chunk of a stream's response, given the text of the one before.

    Some classes report what is new, others only the whole text so far; the latter may begin with
    the prompt, which the decoder removes.
    """
    delta = item.text.removeprefix(before) if item.delta is None else item.delta
    return CompletionChunk(delta, _finish(item), _usage(item.raw))


def _whole(response: CompletionResponse) -> Completion:
    return CompletionChunk(response.text, _finish(response), _usage(response.raw))


def _finish(response: CompletionResponse) -> Any:
    """Return why the engine ended, if it reports so as OpenAI's or llama.cpp's API does."""
    if _get(response.raw, "stopped_limit") or _get(response.raw, "stop_type") == "limit":
        return "length"
    choices = _get(response.raw, "choices")
    return _get(choices[0], "finish_reason") if choices else None


def _usage(raw: Any) -> Usage | None:
    """Return the tokens that a response reports as OpenAI's API does, or llama.cpp's.

    The latter reports them in a stream's last event.
    """
    usage = _get(raw, "usage")
    read, written = _get(usage, "prompt_tokens"), _get(usage, "completion_tokens")
    cached = _get(_get(usage, "prompt_tokens_details"), "cached_tokens")
    if _get(raw, "stop") is True:
        read, written = _get(raw, "tokens_evaluated"), _get(raw, "tokens_predicted")
        cached = _get(_get(raw, "timings"), "cache_n")
    return Usage.of(read, written, cached)


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _ollama_chunk(part: Any) -> CompletionChunk:
    usage = Usage.of(part.prompt_eval_count, part.eval_count)
    return CompletionChunk(part.response, part.done_reason, usage)
