"""Chat: from a conversation through a completion model to a reply.

Both adapters run this class, sync and async; they only translate messages and results.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from urial_core.completion import Completion, CompletionChunk, CompletionModel, CompletionRequest
from urial_core.composing import Overflow, ReplyRequest, TokenBudget, compose, compose_plain
from urial_core.decoding import reply_steps
from urial_core.decoding.steps import CountTokens, ReplySteps, Signal
from urial_core.decoding.tool_calls import call_schema
from urial_core.errors import GenerationError, UnsupportedModelError
from urial_core.inner_stream import InnerStream
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.dynamic_examples import DynamicExamples
from urial_core.prompts.prompt import Example, Prompt
from urial_core.replies import Reply, ReplyEnd, TextDelta, ToolCallDelta
from urial_core.strategies.events import events_of
from urial_core.strategies.strategy import (
    Compute,
    DecodingStrategy,
    StrategySteps,
    WriteCompletions,
    WriteReplies,
)
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import grammar_schema
from urial_core.structured.json_validation import check_schema
from urial_core.tools import ToolUse

__all__ = ["UrialChat"]


@dataclass(frozen=True, slots=True)
class UrialChat:
    """A base model behind a URIAL prompt.

    Attributes:
        model: The model that continues prompts.
        prompt: The constant part of every prompt.
        overflow: What to do with a conversation too long for the context window.
        context_window: The model's window, in tokens, where the model does not know it or is to use
            less.
        decoding: How each reply is found; None for plain sampling.
        examples: Chooses further examples for each question; None for the constant ones only.
    """

    model: CompletionModel
    prompt: Prompt
    overflow: Overflow = "error"
    context_window: int | None = None
    decoding: DecodingStrategy | None = None
    examples: DynamicExamples | None = None

    def request(
        self,
        messages: Sequence[Message],
        parameters: GenerationParameters | None = None,
        *,
        prefill: bool = False,
        tools: ToolUse | None = None,
        response_format: JsonSchema | None = None,
        stop_at_template: bool = True,
    ) -> ReplyRequest:
        """Compose the request for a conversation; see ``urial_core.compose``.

        The model is asked for its window and to count, which may load it or ask a server: within an
        event loop, call this in another thread (``asyncio.to_thread``).

        Raises:
            UnsupportedSchemaError: A schema, of a tool or of the answer, is invalid, or no value
                can match it.
        """
        limits = (parameters or GenerationParameters()).value_limits
        for schema in [tool.parameters for tool in tools.tools] if tools else []:
            check_schema(schema)
        if tools and tools.callable:
            call_schema(tuple(tools.callable), limits)
        if response_format is not None:
            check_schema(response_format.text)
            grammar_schema(response_format, limits)
        return compose(
            self.prompt,
            messages,
            parameters,
            budget=self._budget,
            overflow=self.overflow,
            prefill=prefill,
            tools=tools,
            response_format=response_format,
            stop_at_template=stop_at_template,
            examples=self._examples(messages),
        )

    def _examples(self, messages: Sequence[Message]) -> list[Example]:
        asked = [message.text for message in messages if message.role == "user"]
        if self.examples is None or not asked:
            return []
        return self.examples.choose(asked[-1], self.prompt)

    def plain_request(
        self, text: str, parameters: GenerationParameters | None = None
    ) -> ReplyRequest:
        """Compose the request that has a text continued as it is, without the prompt."""
        return compose_plain(text, parameters, budget=self._budget)

    @property
    def _budget(self) -> TokenBudget | None:
        window = self.context_window or self.model.context_window
        return TokenBudget(window, self.model.count_tokens) if window else None

    def stream(self, request: ReplyRequest) -> Generator[TextDelta | ToolCallDelta | ReplyEnd]:
        """Yield the reply's text and calls as they are written, then its end.

        With a decoding strategy, what is certain comes as soon as it is: with best of n, all at
        once at the end.

        Closing the generator stops the model.

        Raises:
            GenerationError: The model failed; what was emitted is in the error's ``text``.
        """
        return (
            self._stream_sample(request) if self.decoding is None else self._stream_decided(request)
        )

    def _stream_decided(
        self, request: ReplyRequest
    ) -> Generator[TextDelta | ToolCallDelta | ReplyEnd]:
        text = ""
        for item in self._decide(request):
            yield from events_of(item, text)
            text += item.text

    def _stream_sample(
        self, request: ReplyRequest
    ) -> Generator[TextDelta | ToolCallDelta | ReplyEnd]:
        emitted = list[TextDelta | ToolCallDelta]()
        steps = reply_steps(self.model, request, live=True)
        chunks: Generator[CompletionChunk] | None = None
        answer: Any = None
        try:
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration as end:
                    yield end.value.end
                    return
                answer = None
                if isinstance(step, TextDelta | ToolCallDelta):
                    emitted.append(step)
                    yield step
                elif isinstance(step, CountTokens):
                    answer = self._count(step)
                elif isinstance(step, CompletionRequest):
                    chunks = self.model.stream(step)
                    answer = next(chunks, None)
                elif chunks is not None and step is Signal.NEXT_CHUNK:
                    answer = next(chunks, None)
                elif chunks is not None:
                    chunks.close()
        except GenerationError as error:
            error.text = _text_of(emitted)
            raise
        finally:
            if chunks is not None:
                chunks.close()

    def astream(
        self, request: ReplyRequest
    ) -> AsyncGenerator[TextDelta | ToolCallDelta | ReplyEnd]:
        """Yield the reply as ``stream`` does, without blocking the event loop."""
        return (
            self._astream_sample(request)
            if self.decoding is None
            else self._astream_decided(request)
        )

    async def _astream_decided(
        self, request: ReplyRequest
    ) -> AsyncGenerator[TextDelta | ToolCallDelta | ReplyEnd]:
        text = ""
        async with InnerStream(self._adecide(request)) as items:
            async for item in items:
                for event in events_of(item, text):
                    yield event
                text += item.text

    async def _astream_sample(
        self, request: ReplyRequest
    ) -> AsyncGenerator[TextDelta | ToolCallDelta | ReplyEnd]:
        emitted = list[TextDelta | ToolCallDelta]()
        steps = reply_steps(self.model, request, live=True)
        chunks: InnerStream[CompletionChunk] | None = None
        answer: Any = None
        try:
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration as end:
                    yield end.value.end
                    return
                answer = None
                if isinstance(step, TextDelta | ToolCallDelta):
                    emitted.append(step)
                    yield step
                elif isinstance(step, CountTokens):
                    answer = await asyncio.to_thread(self._count, step)
                elif isinstance(step, CompletionRequest):
                    chunks = InnerStream(self.model.astream(step))
                    answer = await anext(chunks, None)
                elif chunks is not None and step is Signal.NEXT_CHUNK:
                    answer = await anext(chunks, None)
                elif chunks is not None:
                    await chunks.aclose()
        except GenerationError as error:
            error.text = _text_of(emitted)
            raise
        finally:
            if chunks is not None:
                await chunks.aclose()

    def reply(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Answer several requests, as one batch where the engine can; in order.

        With a decoding strategy, the samples of each request are one batch.
        """
        if self.decoding is not None:
            return [
                item
                for request in requests
                for item in self._decide(request)
                if isinstance(item, Reply)
            ]
        return self._reply(requests)

    def _reply(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        batch = _Batch(reply_steps(self.model, request, live=False) for request in requests)
        while not batch.is_done:
            batch.count(self._count)
            if batch.requests:
                batch.feed(self.model.complete(batch.requests))
        return batch.replies()

    async def areply(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Answer several requests as ``reply`` does, without blocking the event loop."""
        if self.decoding is not None:
            return [
                item
                for request in requests
                async for item in self._adecide(request)
                if isinstance(item, Reply)
            ]
        return await self._areply(requests)

    async def _areply(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        batch = _Batch(reply_steps(self.model, request, live=False) for request in requests)
        while not batch.is_done:
            if batch.wants_counts:
                await asyncio.to_thread(batch.count, self._count)
            if batch.requests:
                batch.feed(await self.model.acomplete(batch.requests))
        return batch.replies()

    def _decide(self, request: ReplyRequest) -> Generator[TextDelta | Reply]:
        """Yield what the strategy is certain of, then the reply."""
        steps = self._strategy_steps(request)
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                yield end.value
                return
            answer = None
            if isinstance(step, TextDelta):
                yield step
            else:
                answer = self._answer(step)

    async def _adecide(self, request: ReplyRequest) -> AsyncGenerator[TextDelta | Reply]:
        steps = self._strategy_steps(request)
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                yield end.value
                return
            answer = None
            if isinstance(step, TextDelta):
                yield step
            else:
                answer = await self._aanswer(step)

    def _strategy_steps(self, request: ReplyRequest) -> StrategySteps:
        assert self.decoding is not None  # noqa: S101 - the callers' condition
        if lacking := self.decoding.lacking(self.model.features):
            raise UnsupportedModelError(
                f"{type(self.decoding).__name__} needs {lacking}, and {self.model.name} does not "
                "report that: run the model with the transformers backend "
                "(backend='transformers'), or use BestOfN(score='agreement')."
            )
        return self.decoding.steps(request)

    def _answer(self, step: WriteReplies | WriteCompletions | Compute) -> Any:
        match step:
            case WriteReplies():
                return self._reply(step.requests)
            case WriteCompletions():
                return self.model.complete(step.requests)
            case Compute():
                return step.function()

    async def _aanswer(self, step: WriteReplies | WriteCompletions | Compute) -> Any:
        match step:
            case WriteReplies():
                return await self._areply(step.requests)
            case WriteCompletions():
                return await self.model.acomplete(step.requests)
            case Compute():
                return await asyncio.to_thread(step.function)

    def _count(self, step: CountTokens) -> int | None:
        if step.exactly and self.model.tokenizer is None:
            return None
        return self.model.count_tokens(step.text)


def _text_of(deltas: Iterable[TextDelta | ToolCallDelta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


class _Batch:
    """Replies that are written together, each completion as one chunk. Does no I/O."""

    def __init__(self, replies: Iterable[ReplySteps]) -> None:
        self._steps = list(replies)
        self._wanted: list[CompletionRequest | CountTokens | None] = [None] * len(self._steps)
        self._replies = dict[int, Reply]()
        for number in range(len(self._steps)):
            self._send(number, None)

    @property
    def is_done(self) -> bool:
        """Whether every reply is whole."""
        return len(self._replies) == len(self._steps)

    @property
    def wants_counts(self) -> bool:
        """Whether a reply wants tokens counted."""
        return any(isinstance(step, CountTokens) for step in self._wanted)

    @property
    def requests(self) -> list[CompletionRequest]:
        """The completions that replies want, in order."""
        return [step for step in self._wanted if isinstance(step, CompletionRequest)]

    def count(self, count: Callable[[CountTokens], int | None]) -> None:
        """Count tokens until every reply wants a completion or is whole."""
        for number in range(len(self._steps)):
            while isinstance(step := self._wanted[number], CountTokens):
                self._send(number, count(step))

    def feed(self, completions: Sequence[Completion]) -> None:
        """Take the completions of ``requests``."""
        numbers = [n for n, step in enumerate(self._wanted) if isinstance(step, CompletionRequest)]
        for number, completion in zip(numbers, completions, strict=True):
            self._send(number, completion)

    def replies(self) -> list[Reply]:
        """Return the replies, in order."""
        return [self._replies[number] for number in range(len(self._steps))]

    def _send(self, number: int, answer: object) -> None:
        """Send a reply what it wanted, and note what it wants next."""
        steps = self._steps[number]
        try:
            step = steps.send(answer)
            while not isinstance(step, CompletionRequest | CountTokens):
                step = steps.send(None)  # no further chunk comes, and nobody reads along
            self._wanted[number] = step
        except StopIteration as end:
            self._wanted[number], self._replies[number] = None, end.value
