"""Failures within batches: no deadlock, and no effect on other inputs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from batches import WAYS, echo, run, texts
from fake_models import PROMPT, EchoModel
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, CompletionRequest, ContextOverflowError, GenerationError

pytestmark = pytest.mark.timeout(30)  # the likely failure is a deadlock


@pytest.mark.parametrize("way", WAYS)
async def test_one_invalid_input_does_not_fail_the_batch(way: str) -> None:
    """With ``return_exceptions`` the input that is too long has its error, the rest replies."""
    model, chat = echo(context_window=len(PROMPT.prefix.split()) + 80)
    inputs = ["a", "word " * 200, "c"]
    first, error, last = texts(await run(way, chat, inputs, return_exceptions=True))
    assert (first, last) == ("re: a", "re: c")
    assert isinstance(error, ContextOverflowError)
    assert sorted(model.calls) == [["a"], ["c"]]
    with pytest.raises(ContextOverflowError):
        await run(way, chat, inputs)


@pytest.mark.parametrize("way", WAYS)
async def test_a_failure_of_the_model_is_reported_for_each_input(way: str) -> None:
    """Where the model itself fails, each input has that error, and nothing deadlocks."""

    class Broken(EchoModel):
        def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            raise GenerationError("broken")

        async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            raise GenerationError("broken")

    chat = ChatUrial(llm=Broken(), prompt=PROMPT)
    found = await run(way, chat, "abc", return_exceptions=True)
    assert [str(error) for error in found] == ["broken"] * 3
    with pytest.raises(GenerationError, match="broken"):
        await run(way, chat, "abc")


@pytest.mark.parametrize("way", WAYS)
async def test_cache_hits_do_not_block_the_rest(way: str) -> None:
    """Inputs answered from the cache need no call; the others have theirs."""
    model, chat = echo(cache=InMemoryCache())
    chat.invoke("b")
    assert texts(await run(way, chat, "abc")) == ["re: a", "re: b", "re: c"]
    assert texts(await run(way, chat, "abc")) == ["re: a", "re: b", "re: c"]
    assert sorted(model.calls) == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("way", WAYS)
async def test_a_streaming_callback_does_not_block_a_batch(way: str) -> None:
    """An input whose run streams is streamed; a batch where all do ends as well."""
    from langchain_core.tracers._streaming import _StreamingCallbackHandler

    class Listener(BaseCallbackHandler, _StreamingCallbackHandler[Any]):
        def tap_output_iter(self, run_id: Any, output: Any) -> Any:
            return output

        def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
            return output

    model, chat = echo()
    configs: list[Any] = [{"callbacks": [Listener()]}, {}, {}]
    assert texts(await run(way, chat, "abc", configs)) == ["re: a", "re: b", "re: c"]
    assert (model.streams, sorted(model.calls)) == (["a"], [["b"], ["c"]])
    everyone: Any = {"callbacks": [Listener()]}
    assert texts(await run(way, chat, "abc", everyone)) == ["re: a", "re: b", "re: c"]
    assert sorted(model.streams) == ["a", "a", "b", "c"]


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.3])
async def test_a_cancelled_batch_ends_at_once(delay: float) -> None:
    """Cancelling ``abatch`` before or during the model's work ends it, and starts no more."""

    class Slow(BaseRateLimiter):
        def acquire(self, *, blocking: bool = True) -> bool:
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            await asyncio.sleep(0.1)
            return True

    model = EchoModel(delay=5.0)
    chat = ChatUrial(llm=model, prompt=PROMPT, rate_limiter=Slow())
    task = asyncio.create_task(chat.abatch(["a", "b", "c"]))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)
    asked = len(model.calls)
    assert asked == (3 if delay > 0.1 else 0)
    await asyncio.sleep(0.05)
    assert len(model.calls) == asked
