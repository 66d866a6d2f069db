"""A LlamaIndex LLM as a completion model of the core."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.llms.llm import LLM

from llamaindex_urial.capabilities import capabilities_of
from llamaindex_urial.leaving import aending, ending
from urial_core.backends.blocking import SingleRequestModel, worker_for
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
    Usage,
    estimate_tokens,
)
from urial_core.structured.constraints import JsonSchema

__all__ = ["CompletionLLM", "usage_of"]


class CompletionLLM(SingleRequestModel):
    """Calls a LlamaIndex LLM the way its class needs to be called, past all templates of its own.

    It keeps its own callback manager: what the outer LLM's handlers get is the trimmed reply, once.
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
        """The LLM's class and its fields, callables and what looks like a secret left out."""
        fields = self._llm.to_dict()
        return {
            "engine": type(self._llm).__name__,
            **{k: v for k, v in fields.items() if "key" not in k and "headers" not in k},
            "call": sorted(self._call.items()),
        }

    @property
    def context_window(self) -> int | None:
        """The window in the LLM's metadata, where that is known to be the model's."""
        return self._llm.metadata.context_window if self._can.knows_window else None

    @property
    def known_context_window(self) -> int | None:
        """The context window in the LLM's metadata."""
        return self.context_window

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The LLM's own tokenizer, if it was given one."""
        if "tokenizer" not in type(self._llm).model_fields:
            return None
        return getattr(getattr(self._llm, "_tokenizer", None), "encode", None)

    def count_tokens(self, text: str) -> int:
        """Count with the LLM's tokenizer, or estimate from the length."""
        tokenizer = self.tokenizer
        return len(tokenizer(text)) if tokenizer is not None else estimate_tokens(text)

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas, where the class can; keyword arguments of its calls."""
        return ModelFeatures(
            enforces_json=self._can.json_schema is not None,
            with_arguments=lambda more: CompletionLLM(self._llm, {**self._call, **more}),
        )

    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a page."""
        llm, call = self._prepared(request)
        return _whole(llm.complete(request.prompt, formatted=True, **call))

    async def acomplete_one(self, request: CompletionRequest) -> Completion:
        """As ``complete_one``, without blocking the event loop."""
        llm, call = self._prepared(request)
        return _whole(await llm.acomplete(request.prompt, formatted=True, **call))

    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece, or in one piece where the class does not stream."""
        llm, call = self._prepared(request)
        pieces = _Pieces()
        if not self._can.streams:
            yield self.complete_one(request)
            return
        items = llm.stream_complete(request.prompt, formatted=True, **call)
        with ending(items):
            for item in items:
                yield pieces.take(item)

    async def astream_one(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream_one``, without blocking the event loop."""
        llm, call = self._prepared(request)
        pieces = _Pieces()
        if not self._can.streams:
            yield await self.acomplete_one(request)
            return
        items = await llm.astream_complete(request.prompt, formatted=True, **call)
        async with aending(items):
            async for item in items:
                yield pieces.take(item)

    def _prepared(self, request: CompletionRequest) -> tuple[LLM, dict[str, Any]]:
        """A copy of the LLM set to this request's parameters, and the call's arguments."""
        said = request.parameters
        changes = {
            theirs: value
            for ours, theirs in self._can.fields.items()
            if (value := getattr(said, ours)) is not None and getattr(self._llm, theirs) != value
        }
        call = {
            theirs: value
            for ours, theirs in self._can.arguments.items()
            if (value := getattr(said, ours)) is not None
        }
        if self._can.stop:
            call[self._can.stop] = list(request.stop)[: self._can.max_stops]
        if self._can.json_schema and isinstance(request.constraint, JsonSchema):
            call[self._can.json_schema] = request.constraint.schema
        if self._can.bare:
            own = dict(getattr(self._llm, self._can.bare))
            if own.pop("stop", None) is not None:
                changes[self._can.bare] = own
        llm = self._llm.model_copy(update=changes) if changes else self._llm
        return llm, {**call, **self._call}


class _Pieces:
    """Turns a stream's items into what each adds.

    Some classes give what is new, others only all there is so far; a first piece of the latter may
    hold the prompt, which the reader drops.
    """

    def __init__(self) -> None:
        self._text = ""

    def take(self, item: CompletionResponse) -> CompletionChunk:
        delta = item.delta
        if delta is None:
            delta = item.text.removeprefix(self._text)
        self._text = item.text
        return CompletionChunk(delta, finish=_finish(item), usage=usage_of(item.raw))


def _whole(response: CompletionResponse) -> Completion:
    return CompletionChunk(response.text, finish=_finish(response), usage=usage_of(response.raw))


def _finish(response: CompletionResponse) -> str | None:
    """Why the engine ended, where it says so as the OpenAI API or llama.cpp's own does."""
    if _get(response.raw, "stopped_limit") or _get(response.raw, "stop_type") == "limit":
        return "length"
    choices = _get(response.raw, "choices")
    reason = _get(choices[0], "finish_reason") if choices else None
    return reason if reason in ("stop", "length") else None


def usage_of(raw: Any) -> Usage | None:
    """The tokens that a response reports, where it does so as one of two APIs does.

    They are OpenAI's and llama.cpp's own; the latter speaks of them in a stream's last event.
    """
    usage = _get(raw, "usage")
    read, written = _get(usage, "prompt_tokens"), _get(usage, "completion_tokens")
    cached = _get(_get(usage, "prompt_tokens_details"), "cached_tokens")
    if _get(raw, "stop") is True:
        read, written = _get(raw, "tokens_evaluated"), _get(raw, "tokens_predicted")
        cached = _get(_get(raw, "timings"), "cache_n")
    if not isinstance(read, int) or not isinstance(written, int):
        return None
    return Usage(read, written, cached if isinstance(cached, int) else 0)


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)
