"""Any of LangChain's completion LLMs as a completion model of the core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, nullcontext
from dataclasses import replace
from typing import Any

from langchain_core.language_models import LLM, BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from langchain_urial.capabilities import capabilities_of
from urial_core.backends.blocking import aiterate_in_thread, iterate_in_thread, worker_for
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

__all__ = ["CompletionLLM"]

_WINDOW_STEP = 1024
_NAMES = ("model_name", "model", "model_id", "repo_id", "model_path", "deployment_name")


class CompletionLLM:
    """Calls a LangChain LLM the way its class needs to be called.

    The LLM's own run managers never see these calls: what callbacks get is the trimmed reply.
    """

    def __init__(
        self,
        llm: BaseLLM,
        call: Mapping[str, Any] | None = None,
        encode: Callable[[str], list[int]] | None = None,
    ) -> None:
        """Wrap an LLM.

        Args:
            llm: The LLM.
            call: Keyword arguments bound to it, for every call.
            encode: Its model's tokenizer, if known.
        """
        self._llm = llm
        self._can = capabilities_of(llm)
        self._call = {**self._can.call, **(call or {})}
        self._encode = encode or llm.custom_get_token_ids
        self._worker = None if self._can.thread_safe else worker_for(llm)

    @property
    def name(self) -> str:
        """The name of the LLM's model, or of its class."""
        names = (getattr(self._llm, name, None) for name in _NAMES)
        return next((name for name in names if isinstance(name, str) and name), self._class_name)

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The LLM's class, its identifying parameters and what is bound to it."""
        parameters = dict(self._llm._identifying_params)
        if not parameters:  # a class that does not tell its instances apart
            parameters = {"object": hex(id(self._llm))}
        return {"engine": self._class_name, **parameters, "bound": sorted(self._call.items())}

    @property
    def context_window(self) -> int | None:
        """None: it is unknown, or made to fit."""
        return None

    @property
    def known_context_window(self) -> int | None:
        """None: it is unknown, or made to fit."""
        return None

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that was given (``custom_get_token_ids``), if one was."""
        return self._encode

    def count_tokens(self, text: str) -> int:
        """Count with the tokenizer that was given, or estimate from the length."""
        return len(self._encode(text)) if self._encode is not None else estimate_tokens(text)

    @property
    def features(self) -> ModelFeatures:
        """JSON schemas and other models, where the class can; keyword arguments of its calls."""
        name = self._can.model_argument
        return ModelFeatures(
            enforces_json=self._can.json_schema is not None,
            with_arguments=self._with_arguments,
            with_model=(lambda model: self._with_arguments({name: model})) if name else None,
        )

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete pages: one call for all that share their parameters."""
        if self._worker is None:
            return self._complete_here(requests)
        return self._worker.submit(self._complete_here, requests).result()

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        if not self._completes_async:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._complete_here, requests)
        groups = _alike(requests)
        calls = []
        for numbers in groups:
            llm, stop = self._prepared(requests, numbers)
            prompts = [requests[number].prompt for number in numbers]
            calls.append(
                llm._agenerate(prompts, stop=stop, **self._arguments(requests[numbers[0]]))
            )
        return _in_order(groups, await asyncio.gather(*calls))

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece, as far as the LLM streams."""
        if self._worker is None:
            return self._stream_here(request)
        return iterate_in_thread(self._worker, lambda: self._stream_here(request))

    def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        if type(self._llm)._astream is not BaseLLM._astream:
            return self._astream_here(request)
        if self._completes_async and not self._streams:
            return self._astream_whole(request)
        return aiterate_in_thread(self._worker, lambda: self._stream_here(request))

    def _with_arguments(self, more: Mapping[str, Any]) -> CompletionLLM:
        return CompletionLLM(self._llm, {**self._call, **more}, self._encode)

    @property
    def _class_name(self) -> str:
        return type(self._llm).__name__

    @property
    def _streams(self) -> bool:
        kind = type(self._llm)
        return kind._stream is not BaseLLM._stream or kind.stream is not BaseLLM.stream

    @property
    def _completes_async(self) -> bool:
        kind = type(self._llm)
        if issubclass(kind, LLM) and kind._agenerate is LLM._agenerate:
            return kind._acall is not LLM._acall
        return kind._agenerate is not BaseLLM._agenerate

    def _complete_here(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        groups = _alike(requests)
        results = []
        for numbers in groups:
            llm, stop = self._prepared(requests, numbers)
            prompts = [requests[number].prompt for number in numbers]
            results.append(
                llm._generate(prompts, stop=stop, **self._arguments(requests[numbers[0]]))
            )
        return _in_order(groups, results)

    def _stream_here(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        llm, stop = self._prepared([request], [0])
        kind, call = type(llm), self._arguments(request)
        source: Iterator[GenerationChunk] | Iterator[str]
        if kind._stream is not BaseLLM._stream:
            source = llm._stream(request.prompt, stop=stop, **call)
        elif kind.stream is not BaseLLM.stream:
            source = llm.stream(request.prompt, {"callbacks": []}, stop=stop, **call)
        else:
            yield self._complete_here([request])[0]
            return
        with closing(source) if isinstance(source, Generator) else nullcontext():
            for item in source:
                yield _chunk(item)

    async def _astream_here(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        llm, stop = self._prepared([request], [0])
        source = llm._astream(request.prompt, stop=stop, **self._arguments(request))
        async with aclosing(source) if isinstance(source, AsyncGenerator) else nullcontext():
            async for item in source:
                yield _chunk(item)

    async def _astream_whole(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        yield (await self.acomplete([request]))[0]

    def _arguments(self, request: CompletionRequest) -> dict[str, Any]:
        """The keyword arguments of a call: those of every call, and its form's."""
        form, held = request.constraint, self._can.json_schema
        if held is None or not isinstance(form, JsonSchema):
            return self._call
        return {**self._call, **held(form)}

    def _prepared(
        self, requests: Sequence[CompletionRequest], numbers: Sequence[int]
    ) -> tuple[BaseLLM, list[str] | None]:
        """A copy of the LLM set to these requests' parameters, and the stop strings to pass."""
        group = [requests[number] for number in numbers]
        said = group[0].parameters
        settings: dict[str, Any] = {"stop": None, "n": 1, "best_of": 1, "streaming": False}
        settings |= {
            theirs: value
            for ours, theirs in self._can.fields.items()
            if (value := getattr(said, ours)) is not None
        }
        if said.temperature == 0:
            settings |= self._can.greedy
        if self._can.window_field:
            settings[self._can.window_field] = self._sufficient_window(group)
        present = type(self._llm).model_fields
        changes = {
            name: value
            for name, value in settings.items()
            if name in present and getattr(self._llm, name) != value
        }
        llm = self._llm.model_copy(update=changes) if changes else self._llm
        stop = list(group[0].stop)[: self._can.max_stops] if self._can.passes_stop else None
        return llm, stop

    def _sufficient_window(self, group: Sequence[CompletionRequest]) -> int:
        """The tokens that the longest page and its reply may need, in whole steps."""
        needed = max(self.count_tokens(r.prompt) + r.max_tokens for r in group)
        own = getattr(self._llm, self._can.window_field or "", None) or 0
        return max(int(own), -(-needed // _WINDOW_STEP) * _WINDOW_STEP)


def _alike(requests: Sequence[CompletionRequest]) -> list[list[int]]:
    """Group requests, by number, that can go into one call."""
    groups: dict[object, list[int]] = {}
    for number, request in enumerate(requests):
        groups.setdefault((request.parameters, request.stop, request.constraint), []).append(number)
    return list(groups.values())


def _in_order(groups: Sequence[Sequence[int]], results: Sequence[LLMResult]) -> list[Completion]:
    completions = dict[int, Completion]()
    for numbers, result in zip(groups, results, strict=True):
        alone = len(numbers) == 1  # else usage is the sum over all of them
        usage = _usage((result.llm_output or {}).get("token_usage")) if alone else None
        for number, generations in zip(numbers, result.generations, strict=True):
            chunk = _chunk(generations[0])
            completions[number] = replace(chunk, usage=usage or chunk.usage)
    return [completions[number] for number in sorted(completions)]


def _chunk(item: Generation | str) -> CompletionChunk:
    """Translate a piece; some classes stream plain strings."""
    if isinstance(item, str):
        return CompletionChunk(item)
    info = item.generation_info or {}
    finish = info.get("done_reason") or info.get("finish_reason")
    counts = {
        "prompt_tokens": info.get("prompt_eval_count"),
        "completion_tokens": info.get("eval_count"),
    }
    return CompletionChunk(
        item.text,
        finish=finish if finish in ("stop", "length") else None,
        usage=_usage(counts),
    )


def _usage(counts: Mapping[str, Any] | None) -> Usage | None:
    read, written = ((counts or {}).get(name) for name in ("prompt_tokens", "completion_tokens"))
    return Usage(read, written) if isinstance(read, int) and isinstance(written, int) else None
