"""A LangChain LLM as a completion model of the core."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any

from langchain_core.language_models import LLM, BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from langchain_urial.capabilities import capabilities_of
from urial_core.backends.blocking import aiterate_in_thread, iterate_in_thread, worker_for
from urial_core.backends.wrapping import with_fields
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionModel,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
    Usage,
)
from urial_core.inner_stream import InnerStream
from urial_core.structured.constraints import JsonSchema

__all__ = ["CompletionLLM"]

_WINDOW_STEP = 1024
_NAMES = ("model_name", "model", "model_id", "repo_id", "model_path", "deployment_name")


class CompletionLLM(CompletionModel):
    """Calls a LangChain LLM as its class requires.

    The LLM's own run managers never see these calls: callbacks get only the trimmed reply.
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
        self._waiting = deque[tuple[Sequence[CompletionRequest], Future[list[Completion]]]]()
        self._worker = None if self._can.thread_safe else worker_for(llm)

    @property
    def name(self) -> str:
        """The name of the LLM's model, or of its class."""
        names = (getattr(self._llm, name, None) for name in _NAMES)
        found = (name for name in names if isinstance(name, str) and name)
        return next(found, type(self._llm).__name__)

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The LLM's class, its identifying parameters and what is bound to it."""
        parameters = dict(self._llm._identifying_params)
        if not parameters:  # this class gives all instances the same key
            parameters = {"object": hex(id(self._llm))}
        return {
            "backend": type(self._llm).__name__,
            **parameters,
            "bound": sorted(self._call.items()),
        }

    @property
    def context_window(self) -> int | None:
        """None: it is unknown, or set for each request."""
        return None

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that was passed (``custom_get_token_ids``), if any."""
        return self._encode

    @property
    def may_echo(self) -> bool:
        """True: some classes return the prompt, too."""
        return True

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
        """Complete prompts: one call for all that share their parameters."""
        if self._worker is None:
            return self._complete_here(requests)
        return self._queue(self._worker, requests).result()

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""
        if not self._completes_async:
            if self._worker is None:
                return await asyncio.to_thread(self._complete_here, requests)
            return await asyncio.wrap_future(self._queue(self._worker, requests))
        calls = self._calls(requests)
        results = await asyncio.gather(*(llm._agenerate(**call) for _, llm, call in calls))
        return _in_order([numbers for numbers, _, _ in calls], results)

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Stream a completion, as far as the LLM streams."""
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
    def _streams(self) -> bool:
        kind = type(self._llm)
        return kind._stream is not BaseLLM._stream or kind.stream is not BaseLLM.stream

    @property
    def _completes_async(self) -> bool:
        kind = type(self._llm)
        if issubclass(kind, LLM) and kind._agenerate is LLM._agenerate:
            return kind._acall is not LLM._acall
        return kind._agenerate is not BaseLLM._agenerate

    def _queue(
        self, worker: Executor, requests: Sequence[CompletionRequest]
    ) -> Future[list[Completion]]:
        """Have the worker complete prompts, together with all others that wait for it."""
        future = Future[list[Completion]]()
        self._waiting.append((requests, future))
        worker.submit(self._complete_waiting)
        return future

    def _complete_waiting(self) -> None:
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        running = [call for call in waiting if call[1].set_running_or_notify_cancel()]
        together = Future[list[Completion]]()
        self._resolve(together, [request for own, _ in running for request in own])
        if together.exception() is None:
            completions = iter(together.result())
            for own, future in running:
                future.set_result(list(islice(completions, len(own))))
        elif len(running) == 1:
            running[0][1].set_exception(together.exception())
        else:  # whose error it is shows when each is alone
            for own, future in running:
                self._resolve(future, own)

    def _resolve(
        self, future: Future[list[Completion]], requests: Sequence[CompletionRequest]
    ) -> None:
        try:
            future.set_result(self._complete_here(requests))
        except Exception as error:  # noqa: BLE001 - raised again in the caller
            future.set_exception(error)

    def _complete_here(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        calls = self._calls(requests)
        results = [llm._generate(**call) for _, llm, call in calls]
        return _in_order([numbers for numbers, _, _ in calls], results)

    def _calls(
        self, requests: Sequence[CompletionRequest]
    ) -> list[tuple[list[int], BaseLLM, dict[str, Any]]]:
        """Group requests, by number, with the LLM and the arguments of one call for each group."""
        groups: dict[object, list[int]] = {}
        for number, request in enumerate(requests):
            key = (request.parameters, request.stop, request.constraint)
            groups.setdefault(key, []).append(number)
        calls = []
        for numbers in groups.values():
            group = [requests[number] for number in numbers]
            llm, call = self._prepared(group)
            calls.append((numbers, llm, {"prompts": [r.prompt for r in group], **call}))
        return calls

    def _stream_here(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        llm, call = self._prepared([request])
        source: Iterator[GenerationChunk] | Iterator[str]
        if type(llm)._stream is not BaseLLM._stream:
            source = llm._stream(request.prompt, **call)
        elif type(llm).stream is not BaseLLM.stream:
            source = llm.stream(request.prompt, {"callbacks": []}, **call)
        else:
            yield self._complete_here([request])[0]
            return
        with closing(source) if isinstance(source, Generator) else nullcontext():
            for item in source:
                yield _chunk(item)

    async def _astream_here(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        llm, call = self._prepared([request])
        source = llm._astream(request.prompt, **call)
        async with (
            InnerStream(source) if isinstance(source, AsyncGenerator) else nullcontext(source)
        ) as items:
            async for item in items:
                yield _chunk(item)

    async def _astream_whole(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        yield (await self.acomplete([request]))[0]

    def _prepared(self, group: Sequence[CompletionRequest]) -> tuple[BaseLLM, dict[str, Any]]:
        """Return a copy of the LLM set to the parameters of like requests, and call arguments."""
        parameters, constraint, can = group[0].parameters, group[0].constraint, self._can
        settings: dict[str, Any] = {"stop": None, "n": 1, "best_of": 1, "streaming": False}
        settings |= parameters.under_names(can.fields)
        if parameters.temperature == 0:
            settings |= can.greedy
        if can.window_field:
            settings[can.window_field] = self._sufficient_window(group)
        present = type(self._llm).model_fields
        llm = with_fields(self._llm, {k: v for k, v in settings.items() if k in present})
        call = {"stop": list(group[0].stop)[: can.max_stops] if can.passes_stop else None}
        if can.json_schema is not None and isinstance(constraint, JsonSchema):
            call |= can.json_schema(constraint)
        return llm, {**self._call, **call}

    def _sufficient_window(self, group: Sequence[CompletionRequest]) -> int:
        """Return the tokens that the longest prompt and its reply may need, in whole steps."""
        needed = max(self.count_tokens(r.prompt) + r.max_tokens for r in group)
        own = getattr(self._llm, self._can.window_field or "", None) or 0
        return max(int(own), -(-needed // _WINDOW_STEP) * _WINDOW_STEP)


def _in_order(groups: Sequence[Sequence[int]], results: Sequence[LLMResult]) -> list[Completion]:
    """Return completions in the order of the requests, of which each group has some numbers."""
    completions = dict[int, Completion]()
    for numbers, result in zip(groups, results, strict=True):
        alone = len(numbers) == 1  # else usage is the sum over all
        counts = (result.llm_output or {}).get("token_usage") or {} if alone else {}
        usage = Usage.of(counts.get("prompt_tokens"), counts.get("completion_tokens"))
        for number, generations in zip(numbers, result.generations, strict=True):
            chunk = _chunk(generations[0])
            completions[number] = replace(chunk, usage=usage or chunk.usage)
    return [completions[number] for number in sorted(completions)]


def _chunk(item: Generation | str) -> CompletionChunk:
    """Translate a chunk; some classes stream plain strings."""
    if isinstance(item, str):
        return CompletionChunk(item)
    info = item.generation_info or {}
    finish = info.get("done_reason") or info.get("finish_reason")
    usage = Usage.of(info.get("prompt_eval_count"), info.get("eval_count"))
    return CompletionChunk(item.text, finish, usage)
