"""Streaming, stop sequences, cancellation, failures and concurrent callers."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from urial_core import GenerationError, GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import CompletionRequest

MakeEngine = Callable[..., TransformersModel]


def ask(
    engine: TransformersModel, text: str = "Why?", prefill: str = "", **parameters: Any
) -> CompletionRequest:
    settings = {"max_tokens": 16, "repetition_penalty": 1.0, **parameters}
    messages = [Message("user", text)] + ([Message("assistant", prefill)] if prefill else [])
    chat = UrialChat(engine, load_prompt("short"))
    return chat.request(messages, GenerationParameters(**settings), prefill=bool(prefill))


class Forwards:
    """Counts a model's forward passes, and can make one fail or take long."""

    def __init__(self, model: Any) -> None:
        self.count = 0
        self.fail_at: int | None = None
        self.delay = 0.0
        model.register_forward_pre_hook(self)

    def __call__(self, *_: Any) -> None:
        self.count += 1
        time.sleep(self.delay)
        if self.count == self.fail_at:
            raise RuntimeError("out of memory")


@pytest.fixture
def engine(make_engine: MakeEngine) -> TransformersModel:
    return make_engine()


@pytest.fixture
def forwards(engine: TransformersModel) -> Forwards:
    return Forwards(engine._loaded)


def wait_for_worker(engine: TransformersModel) -> None:
    """Wait until the worker has done all its jobs."""
    engine._worker.submit(int).result()


def test_closing_a_stream_early_stops_the_model(
    engine: TransformersModel, forwards: Forwards
) -> None:
    """After a consumer closes its stream, the model makes no further step."""
    stream = engine.stream(ask(engine, max_tokens=200))
    next(stream)
    stream.close()
    wait_for_worker(engine)
    count = forwards.count
    time.sleep(0.05)
    wait_for_worker(engine)
    assert forwards.count == count


def test_an_unreferenced_stream_stops_the_model(
    engine: TransformersModel, forwards: Forwards
) -> None:
    """A stream that is garbage-collected is closed too."""
    stream = engine.stream(ask(engine, max_tokens=200))
    next(stream)
    del stream
    gc.collect()
    wait_for_worker(engine)
    count = forwards.count
    time.sleep(0.05)
    assert forwards.count == count


async def test_cancelling_a_task_stops_the_model(
    engine: TransformersModel, forwards: Forwards
) -> None:
    """A cancelled task's request makes at most the step that was under way."""
    forwards.delay = 0.01

    async def consume() -> None:
        async for _ in engine.astream(ask(engine, max_tokens=500)):
            pass

    task = asyncio.create_task(consume())
    while forwards.count < 5 and not task.done():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_for_worker, engine)
    count = forwards.count
    await asyncio.sleep(0.1)
    assert forwards.count == count


def test_the_stop_is_immediate(engine: TransformersModel, forwards: Forwards) -> None:
    """No token is computed after the one that completes a stop string."""
    text = engine.complete([ask(engine)])[0].text
    stop = text[3]
    before = forwards.count
    completion = engine.complete([ask(engine, stop=(stop,))])[0]
    assert completion.finish == "stop"
    assert completion.usage
    # One pass reads the uncached part of the prompt and gives the first token's logits.
    assert forwards.count - before == completion.usage.output_tokens


def test_failure_reaches_the_consumer(engine: TransformersModel, forwards: Forwards) -> None:
    """A failing step raises GenerationError in the consumer, and the next request works."""
    forwards.fail_at = 5
    with pytest.raises(GenerationError, match="out of memory"):
        list(engine.stream(ask(engine)))
    assert engine.complete([ask(engine)])[0].text


def test_a_request_within_a_stream(engine: TransformersModel) -> None:
    """A request within the loop over another's stream does not wait for that stream's end."""
    inner = engine.complete([ask(engine, "Who?")])[0].text
    for _ in engine.stream(ask(engine)):
        assert engine.complete([ask(engine, "Who?")])[0].text == inner
        break


def test_threads(make_engine: MakeEngine) -> None:
    """Callers in many threads get the replies that they get alone."""
    questions = [f"Question {number}?" for number in range(8)]
    alone = make_engine()
    expected = [alone.complete([ask(alone, question)])[0].text for question in questions]
    shared = make_engine()
    start = threading.Barrier(8)

    def work(question: str) -> str:
        start.wait()
        return "".join(chunk.text for chunk in shared.stream(ask(shared, question)))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, questions)) == expected


async def test_event_loop_ticks(engine: TransformersModel, forwards: Forwards) -> None:
    """The event loop keeps running while the model computes."""
    forwards.delay = 0.02
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticker = asyncio.create_task(tick())
    await engine.acomplete([ask(engine)])
    ticker.cancel()
    assert ticks > forwards.count


def test_never_blank(engine: TransformersModel) -> None:
    """A model that favours the end of text still generates some text first."""

    def favour_the_end(_: Any, __: Any, output: Any) -> Any:
        output.logits[..., 1] = 1e4
        return output

    engine._loaded.register_forward_hook(favour_the_end)
    completion = engine.complete([ask(engine)])[0]
    assert completion.text.strip()
    assert completion.finish == "stop"


def test_seed(engine: TransformersModel) -> None:
    """A seed gives the same reply again, alone and in a batch; another seed gives another."""
    one, two = (ask(engine, temperature=1.0, seed=seed) for seed in (1, 2))
    first, second = (engine.complete([request])[0].text for request in (one, two))
    assert first != second
    assert [c.text for c in engine.complete([two, one, two])] == [second, first, second]


def test_logprobs(engine: TransformersModel) -> None:
    """Log-probabilities come with each token, best first, and greedy takes the best."""
    for chunk in engine.stream(ask(engine, logprobs=3)):
        (logprob,) = chunk.logprobs
        assert logprob.logprob <= 0
        assert [value for _, value in logprob.top] == sorted(
            (value for _, value in logprob.top), reverse=True
        )
        assert logprob.top[0][1] == pytest.approx(logprob.logprob)


def test_prefill(engine: TransformersModel) -> None:
    """A prefill is read as text that the model wrote."""
    whole = engine.complete([ask(engine)])[0].text
    if whole.isascii():
        rest = engine.complete([ask(engine, prefill=whole[:4])])[0].text
        assert rest


def test_invalid_arguments_are_refused(make_model: Callable[..., Any], tokenizer: Any) -> None:
    """An object that cannot serve as a model is refused with the reason."""
    from transformers import T5Config, T5ForConditionalGeneration

    from urial_core.errors import ParameterError, UnsupportedModelError

    sizes = {"vocab_size": 8, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    with pytest.raises(UnsupportedModelError, match="encoder-decoder"):
        TransformersModel(T5ForConditionalGeneration(T5Config(**sizes)), tokenizer)
    with pytest.raises(UnsupportedModelError, match="tokenizer"):
        TransformersModel(make_model("llama"))
    with pytest.raises(UnsupportedModelError, match="not a transformers model"):
        TransformersModel(torch.nn.Linear(1, 1), tokenizer)
    with pytest.raises(UnsupportedModelError, match="fast tokenizer"):
        TransformersModel(make_model("llama"), object())
    with pytest.raises(ParameterError, match="max_batch_size"):
        TransformersModel("some/model", max_batch_size=0)
