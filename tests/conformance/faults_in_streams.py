"""LLMs whose streams or concurrent calls break a rule."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, ClassVar

from fake_llm import FakeLLM, Source
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
)
from llama_index.core.llms.callbacks import llm_chat_callback

__all__ = [
    "TIME_LIMIT",
    "BlocksTheLoop",
    "DeltaAsText",
    "GeneratesOn",
    "HangsOnErrors",
    "MixesUp",
    "NoItems",
    "OneItemForAll",
    "RaisesOnClose",
    "ReportsClosing",
    "ReturnsList",
    "SwallowsErrors",
    "TextAsDelta",
    "YieldsInstead",
]

TIME_LIMIT = 2.0
"""Seconds that a call may take."""


def _text_of(item: ChatResponse | CompletionResponse) -> str:
    return item.text if isinstance(item, CompletionResponse) else item.message.content or ""


class TextAsDelta(FakeLLM):
    """Its deltas are the text so far."""

    fails: ClassVar[set[str]] = {"test_deltas_make_up_the_text"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        for item in super().items(source, make):
            yield item.model_copy(update={"delta": _text_of(item)})


class DeltaAsText(FakeLLM):
    """Its items' texts are the deltas."""

    fails: ClassVar[set[str]] = {
        "test_deltas_make_up_the_text",
        "test_same_answer_each_time",
        "test_stop_ends_the_answer",
    }

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        return super().completion(source, delta or text, delta, last=last)

    def items(self, source: Source, make: Any) -> Generator[Any]:
        yield from list(super().items(source, make))[:-1]


class NoItems(FakeLLM):
    """Its awaited streams are empty."""

    fails: ClassVar[set[str]] = {"test_answers"}

    async def aitems(self, source: Source, make: Any) -> AsyncGenerator[Any]:
        for _ in source.write():
            pass
        return
        yield


class OneItemForAll(FakeLLM):
    """It emits the same object again and again."""

    fails: ClassVar[set[str]] = {"test_items_do_not_change_later"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        one = None
        for item in super().items(source, make):
            one = one or item
            for name in type(item).model_fields:
                setattr(one, name, getattr(item, name))
            yield one


class YieldsInstead(FakeLLM):
    """Its ``astream_chat`` is an async generator itself, and cannot be awaited."""

    fails: ClassVar[set[str]] = {"test_stream_is_a_generator"}

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        async for item in await super().astream_chat(messages, **kwargs):
            yield item


class ReturnsList(FakeLLM):
    """Its ``stream_chat`` gives a list iterator, not a generator."""

    fails: ClassVar[set[str]] = {"test_stream_is_a_generator"}

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        return iter(list(super().stream_chat(messages, **kwargs)))


class SwallowsErrors(FakeLLM):
    """When its source fails, the stream just ends."""

    fails: ClassVar[set[str]] = {"test_errors_reach_the_caller"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        try:
            yield from super().items(source, make)
        except ConnectionError:
            return


class HangsOnErrors(FakeLLM):
    """When its source fails, the caller and the event loop hang."""

    fails: ClassVar[set[str]] = {"test_errors_reach_the_caller"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        try:
            yield from super().items(source, make)
        except ConnectionError:
            time.sleep(2 * TIME_LIMIT)

    async def aitems(self, source: Source, make: Any) -> AsyncGenerator[Any]:
        for item in self.items(source, make):
            yield item


class GeneratesOn(FakeLLM):
    """It generates on when the stream is closed."""

    fails: ClassVar[set[str]] = {"test_closing_early_stops_generation"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        yield from super().items(source, make)
        source.running = source.closed


class ReportsClosing(FakeLLM):
    """It leaves closing to the core's decorators."""

    fails: ClassVar[set[str]] = {"test_closing_early_is_no_error"}

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        source, make = self._conversation(messages, kwargs)
        return self.items(source, make)


class RaisesOnClose(FakeLLM):
    """Its source raises when its stream is closed."""

    fails: ClassVar[set[str]] = {"test_closing_early"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        yield from super().items(source, make)
        if source.closed:
            raise RuntimeError("The stream was closed.")


class BlocksTheLoop(FakeLLM):
    """Its async methods block the event loop."""

    fails: ClassVar[set[str]] = {
        "test_does_not_block_the_event_loop",
        "test_awaited_together_is_faster",
    }
    delay: float = 0.01

    async def awhole(self, source: Source, make: Any) -> Any:
        return self.whole(source, make)

    async def aitems(self, source: Source, make: Any) -> AsyncGenerator[Any]:
        for item in self.items(source, make):
            yield item


class MixesUp(FakeLLM):
    """It stores the question in one place for all calls."""

    fails: ClassVar[set[str]] = {"test_answers_are_not_mixed_up"}
    delay: float = 0.002

    def whole(self, source: Source, make: Any) -> Any:
        time.sleep(self.delay)
        return super().whole(self.sources[-1], make)
