"""LlamaIndex's Ollama class as a completion model, by the server's raw mode.

The class itself always has the server put its chat template around a prompt. Its clients offer
what it does not: ``raw`` leaves the template out, and stop strings and parameters go in
``options``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from typing import Any

from urial_core.backends.blocking import SingleRequestModel
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Usage,
    estimate_tokens,
)
from urial_core.structured.constraints import JsonSchema

__all__ = ["OllamaModel"]

_OPTIONS = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repetition_penalty": "repeat_penalty",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}


class OllamaModel(SingleRequestModel):
    """Calls the clients of a ``llama_index.llms.ollama.Ollama``."""

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
            "engine": "Ollama",
            "base_url": self._llm.base_url,
            "model": self._llm.model,
            "temperature": self._llm.temperature,
            "options": sorted(self._llm.additional_kwargs.items()),
            "call": sorted(self._call.items()),
        }

    @property
    def context_window(self) -> int:
        """The window that the LLM asks the server for; found out at the server, once."""
        return int(self._llm.get_context_window())

    @property
    def known_context_window(self) -> int | None:
        """The window, if the server need not be asked."""
        window = int(self._llm.context_window)
        return window if window > 0 else None

    def count_tokens(self, text: str) -> int:
        """Estimate from the length: the server offers no tokenizer."""
        return estimate_tokens(text)

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas, by ``format``; keyword arguments of the clients' calls."""
        return ModelFeatures(
            enforces_json=True,
            with_arguments=lambda more: OllamaModel(self._llm, {**self._call, **more}),
        )

    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a page."""
        return _chunk(self._llm.client.generate(**self._arguments(request), stream=False))

    async def acomplete_one(self, request: CompletionRequest) -> Completion:
        """As ``complete_one``, without blocking the event loop."""
        arguments = await asyncio.to_thread(self._arguments, request)
        return _chunk(await self._llm.async_client.generate(**arguments, stream=False))

    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece."""
        with closing(self._llm.client.generate(**self._arguments(request), stream=True)) as parts:
            for part in parts:
                yield _chunk(part)

    async def astream_one(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream_one``, without blocking the event loop."""
        arguments = await asyncio.to_thread(self._arguments, request)
        parts = await self._llm.async_client.generate(**arguments, stream=True)
        async with aclosing(parts):
            async for part in parts:
                yield _chunk(part)

    def _arguments(self, request: CompletionRequest) -> dict[str, Any]:
        """The arguments of a call; the server may have to be asked for the window, blocking."""
        own = {key: value for key, value in self._llm.additional_kwargs.items() if key != "stop"}
        said = {
            theirs: value
            for ours, theirs in _OPTIONS.items()
            if (value := getattr(request.parameters, ours)) is not None
        }
        options = {
            "temperature": self._llm.temperature,
            **own,
            **said,
            "num_ctx": self.context_window,  # else the server drops the front of longer pages
            "stop": list(request.stop),
        }
        held = request.constraint
        return {
            "model": self._llm.model,
            "prompt": request.prompt,
            "raw": True,
            "format": held.schema if isinstance(held, JsonSchema) else None,
            "options": {name: value for name, value in options.items() if value is not None},
            "keep_alive": self._llm.keep_alive,
            **self._call,
        }


def _chunk(part: Any) -> CompletionChunk:
    reason, read, written = part.done_reason, part.prompt_eval_count, part.eval_count
    return CompletionChunk(
        part.response,
        finish=reason if reason in ("stop", "length") else None,
        usage=Usage(read, written) if read is not None and written is not None else None,
    )
