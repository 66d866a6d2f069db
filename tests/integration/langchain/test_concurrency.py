"""Concurrency and cancellation around the real base model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from langchain_urial import ChatUrial
from urial_core.backends.transformers import TransformersModel

pytestmark = [pytest.mark.model, pytest.mark.matrix]

QUESTIONS = ["What color is the sky?", "Name a fruit.", "Who wrote Hamlet?", "What is 2 plus 2?"]


@pytest.fixture
def chat(demo_model: TransformersModel) -> ChatUrial:
    """Return a greedy chat model with a short prompt."""
    return ChatUrial(llm=demo_model, prompt="short", max_tokens=8, temperature=0)


@pytest.fixture
def steps(demo_model: TransformersModel) -> Iterator[list[int]]:
    """Note the model's forward passes."""
    passes = list[int]()
    engine: Any = demo_model._ready_engine()
    hook = engine.model.register_forward_pre_hook(lambda *_: passes.append(1))
    yield passes
    hook.remove()


def test_threads_get_what_they_get_alone(chat: ChatUrial) -> None:
    """Four threads at once, streaming and not, have the same greedy texts as one after another."""
    alone = [chat.invoke(question).text for question in QUESTIONS]

    def stream(question: str) -> str:
        return "".join(chunk.text for chunk in chat.stream(question))

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda question: chat.invoke(question).text, QUESTIONS))
        streamed = list(threads.map(stream, QUESTIONS))
    assert together == alone
    assert streamed == alone


async def test_tasks_get_what_they_get_alone(chat: ChatUrial) -> None:
    """The same for tasks of one event loop, which ticks all the while."""
    alone = [(await chat.ainvoke(question)).text for question in QUESTIONS]
    ticks = list[float]()

    async def tick() -> None:
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(0.01)

    ticker = asyncio.create_task(tick())
    together = await asyncio.gather(*map(chat.ainvoke, QUESTIONS))
    ticker.cancel()
    assert [message.text for message in together] == alone
    assert len(ticks) > 5


async def test_a_stream_that_is_left_stops_the_model(chat: ChatUrial, steps: list[int]) -> None:
    """After closing a stream, sync or async, no token is computed, and the next call runs."""
    long = {"max_tokens": 500, "stop": ["never"]}
    for chunk in chat.stream("Tell me a long story.", **long):
        if chunk.text:
            break
    async for chunk in chat.astream("Tell me a long story.", **long):
        if chunk.text:
            break
    await asyncio.sleep(0.5)
    done = len(steps)
    assert done < 40
    await asyncio.sleep(0.5)
    assert len(steps) == done
    assert (await chat.ainvoke(QUESTIONS[0])).text


async def test_a_cancelled_call_stops_the_model(chat: ChatUrial, steps: list[int]) -> None:
    """A call or a batch whose task is cancelled leaves no model running."""
    for call in (
        chat.ainvoke("Tell me a long story.", max_tokens=500),
        chat.abatch(["Tell me a long story.", "And another."], max_tokens=500),
    ):
        task = asyncio.ensure_future(call)
        before = len(steps)
        while len(steps) < before + 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.3)
        done = len(steps)
        await asyncio.sleep(0.5)
        assert len(steps) == done


def test_a_batch_is_faster_than_its_inputs_one_by_one(chat: ChatUrial, steps: list[int]) -> None:
    """A batch of four takes about as many forward passes as its longest input, not as all."""
    alone = [chat.invoke(question, max_tokens=8).text for question in QUESTIONS]
    one_by_one = len(steps)
    steps.clear()
    assert [message.text for message in chat.batch(QUESTIONS, max_tokens=8)] == alone
    assert len(steps) < one_by_one / 2
    assert threading.active_count() < 50
