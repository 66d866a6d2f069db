"""Async: the event loop is never blocked, and closing a stream stops its source."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from fake_models import (
    END,
    PROMPT,
    AsyncStreamingLLM,
    EchoModel,
    PlainLLM,
    StreamingLLM,
    chat_of,
)

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, CompletionRequest, ModelFeatures
from urial_core.testing import FakeModel

pytestmark = pytest.mark.timeout(30)


@asynccontextmanager
async def ticking() -> AsyncGenerator[list[float]]:
    """Let the event loop tick every 5 ms beside the block, and note the gaps between ticks."""
    gaps = list[float]()

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    task = asyncio.create_task(tick())
    try:
        yield gaps
    finally:
        task.cancel()


async def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true within two seconds."""
    for _ in range(200):
        if condition():
            return True
        gc.collect()
        await asyncio.sleep(0.01)
    return condition()


@pytest.mark.parametrize("kind", [PlainLLM, StreamingLLM])
async def test_a_blocking_llm_does_not_block_the_event_loop(kind: type[PlainLLM]) -> None:
    """The event loop keeps running while an LLM without async methods answers or streams."""
    whole = ChatUrial(llm=kind(seconds=0.3), prompt=PROMPT)
    pieces = ChatUrial(llm=kind(seconds=0.3 if kind is PlainLLM else 0.03), prompt=PROMPT)
    async with ticking() as gaps:
        assert (await whole.ainvoke("Hi")).content == "Hello!"
        assert "".join([c.text async for c in pieces.astream("Hi")]) == "Hello!"
    assert len(gaps) > 50
    assert max(gaps) < 0.15


@pytest.mark.parametrize("kwargs", [{"model": "other"}, {"unknown": 1}])
async def test_features_are_read_in_another_thread(kwargs: dict[str, Any]) -> None:
    """A server may have to be asked what a call's arguments mean: the event loop goes on."""
    threads = set[int]()

    class Server(FakeModel):
        @property
        def features(self) -> ModelFeatures:
            threads.add(threading.get_ident())
            return ModelFeatures(with_model=lambda _: self, with_arguments=lambda _: self)

    chat = ChatUrial(llm=Server("Hello!"), prompt=PROMPT)
    assert (await chat.ainvoke("Hi", **kwargs)).content == "Hello!"
    assert "".join([c.text async for c in chat.astream("Hi", **kwargs)]) == "Hello!"
    assert threads
    assert threading.get_ident() not in threads


async def test_calls_of_a_remote_model_overlap() -> None:
    """Four calls that wait for a server take about the time of one, by themselves or inside."""
    for llm in (EchoModel(delay=0.3), AsyncStreamingLLM(seconds=0.3), PlainLLM(seconds=0.3)):
        chat = ChatUrial(llm=llm, prompt=PROMPT)
        before = time.perf_counter()
        await asyncio.gather(*(chat.ainvoke("Hi") for _ in range(4)))
        assert time.perf_counter() - before < 0.9, type(llm)


async def test_streams_of_a_remote_model_overlap() -> None:
    """Two streams take turns; neither waits for the other's end."""
    chat = ChatUrial(llm=FakeModel(["a", "b", "c", "d"], delay=0.03), prompt=PROMPT)
    order = list[int]()

    async def read(number: int) -> None:
        async for _ in chat.astream("Hi"):
            order.append(number)

    await asyncio.gather(read(1), read(2))
    assert set(order[:4]) == {1, 2}


async def test_chunks_come_when_they_are_written() -> None:
    """A stream yields each chunk at once, and not all at the end."""
    chat = ChatUrial(llm=FakeModel(["one", " two", " three"], delay=0.1), prompt=PROMPT)
    times = [time.perf_counter() async for _ in chat.astream("Hi")]
    assert times[-1] - times[0] > 0.15


async def test_a_blocking_model_of_the_core_may_be_asked_from_several_threads() -> None:
    """Sync calls in the user's threads return what they return alone."""
    chat = ChatUrial(llm=EchoModel(), prompt=PROMPT)
    calls = [asyncio.to_thread(chat.invoke, f"q{number}") for number in range(16)]
    replies = await asyncio.gather(*calls)
    assert [reply.content for reply in replies] == [f"re: q{number}" for number in range(16)]


@pytest.mark.parametrize("script", [["a"] * 1000, ["a ", "b", END, *["junk"] * 1000]])
async def test_closing_a_stream_closes_the_source(script: list[str]) -> None:
    """When the user closes the stream or the reply ends, the model's is closed, not drained."""
    chat = chat_of(script)
    for chunk in chat.stream("Hi"):
        if chunk.text in ("a", "b"):
            break
    gc.collect()
    assert await eventually(lambda: chat.llm.closed == 1)
    async for chunk in chat.astream("Hi"):
        if chunk.text in ("a", "b"):
            break
    assert await eventually(lambda: chat.llm.closed == 2)
    assert chat.llm.chunks_sent < 20


async def test_a_reply_that_is_over_stops_the_model() -> None:
    """What a base model writes behind the end is not waited for."""
    chat = chat_of(["Hello!", END, *["junk"] * 1000])
    assert "".join(chunk.text for chunk in chat.stream("Hi")) == "Hello!"
    assert chat.llm.chunks_sent == 2
    assert "".join([chunk.text async for chunk in chat.astream("Hi")]) == "Hello!"
    assert (chat.llm.chunks_sent, chat.llm.closed) == (4, 2)


@pytest.mark.parametrize("kind", [StreamingLLM, AsyncStreamingLLM])
async def test_leaving_a_stream_closes_the_llms(kind: type[StreamingLLM]) -> None:
    """The same around LangChain's LLMs, sync ones in a thread and async ones in the loop."""
    llm = kind(reply="a" * 1000, seconds=0.001)
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    async with aclosing(chat.astream("Hi")) as chunks:
        async for _ in chunks:
            break
    assert await eventually(lambda: len(llm.closed) == 1)
    assert len(llm.sent) < 200
    sent = len(llm.sent)
    await asyncio.sleep(0.05)
    assert len(llm.sent) == sent


@pytest.mark.parametrize("kind", [StreamingLLM, AsyncStreamingLLM])
async def test_cancelling_the_task_of_a_stream_closes_the_source(kind: type[StreamingLLM]) -> None:
    """A task that is cancelled while it reads a stream leaves no model running."""
    llm = kind(reply="a" * 1000, seconds=0.005)
    chat = ChatUrial(llm=llm, prompt=PROMPT)

    async def read() -> None:
        async for _ in chat.astream("Hi"):
            pass

    task = asyncio.create_task(read())
    assert await eventually(lambda: len(llm.sent) > 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await eventually(lambda: len(llm.closed) == 1)
    assert len(llm.sent) < 300


async def test_cancelling_a_call_cancels_the_models() -> None:
    """``ainvoke`` passes a cancellation on to the model."""
    cancelled = list[bool]()

    class Waiting(FakeModel):
        async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
            return []

    chat = ChatUrial(llm=Waiting(), prompt=PROMPT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(chat.ainvoke("Hi"), 0.1)
    assert cancelled == [True]


async def test_an_error_in_a_stream_comes_after_what_was_written() -> None:
    """A stream that breaks gives out what it had, then raises."""

    class Breaking(FakeModel):
        def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
            yield CompletionChunk("Hel")
            yield CompletionChunk("lo")
            raise OSError("gone")

    received = list[Any]()

    def read() -> None:
        received.extend(chat.stream("Hi"))

    chat = ChatUrial(llm=Breaking(), prompt=PROMPT)
    with pytest.raises(OSError, match="gone"):
        read()
    assert [chunk.text for chunk in received] == ["Hel", "lo"]
