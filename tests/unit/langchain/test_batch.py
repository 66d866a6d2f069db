"""Batches: many inputs are one piece of work for the model, and a run each for everyone else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter

from doubles_of_models import PROMPT, EchoModel
from langchain_urial import ChatUrial
from urial_core import CompletionChunk, ContextOverflowError, GenerationError, Request

pytestmark = pytest.mark.timeout(30)  # what could go wrong here is waiting for ever

WAYS = ["batch", "abatch"]


def echo(**fields: Any) -> tuple[EchoModel, ChatUrial]:
    """A model that repeats the question, and a chat model around it."""
    model = EchoModel(context_window=fields.pop("context_window", None))
    return model, ChatUrial(llm=model, prompt=PROMPT, **fields)


async def run(way: str, chain: Any, inputs: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
    """Answer a batch, sync (within the running loop's thread) or async."""
    inputs = list(inputs)
    if way == "batch":
        return list(chain.batch(inputs, *args, **kwargs))
    return list(await chain.abatch(inputs, *args, **kwargs))


def texts(messages: Sequence[Any]) -> list[Any]:
    """The messages' texts; errors as they are."""
    return [message.text if isinstance(message, AIMessage) else message for message in messages]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 1, 2, 16, 64])
async def test_a_batch_is_one_call_of_the_model(way: str, count: int) -> None:
    """The model answers all inputs in one ``complete``, in their order, whoever came first."""
    model, chat = echo()
    questions = [f"q{number}" for number in range(count)]
    assert texts(await run(way, chat, questions)) == [f"re: {question}" for question in questions]
    assert model.calls == ([questions] if count else [])


@pytest.mark.parametrize("way", WAYS)
async def test_a_hundred_inputs_go_in_parts(way: str) -> None:
    """Long batches go to the model in as few parts as are reasonable, each input once."""
    model, chat = echo()
    questions = [f"q{number}" for number in range(100)]
    assert texts(await run(way, chat, questions)) == [f"re: {question}" for question in questions]
    assert sum(model.calls, []) == questions
    assert len(model.calls) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_max_concurrency_is_the_most_that_go_together(way: str) -> None:
    """``max_concurrency`` splits a batch."""
    model, chat = echo()
    await run(way, chat, ["a", "b", "c", "d", "e"], {"max_concurrency": 2})
    assert model.calls == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("way", WAYS)
async def test_every_input_is_a_run_with_its_own_config(way: str) -> None:
    """Each input has its callbacks, tags and metadata, once."""
    started = list[tuple[str, list[str]]]()
    ended = list[str]()

    class Diary(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            started.append((messages[0][0].content, kwargs["tags"]))

        def on_llm_end(self, response: Any, **kwargs: Any) -> None:
            ended.append(response.generations[0][0].text)

    model, chat = echo()
    await run(way, chat, "ab", [{"callbacks": [Diary()], "tags": [tag]} for tag in "xy"])
    assert sorted(started) == [("a", ["x"]), ("b", ["y"])]
    assert sorted(ended) == ["re: a", "re: b"]
    assert model.calls == [["a", "b"]]


@pytest.mark.parametrize("way", WAYS)
async def test_one_bad_input_does_not_spoil_the_batch(way: str) -> None:
    """With ``return_exceptions`` the input that does not fit has its error, the rest replies."""
    model, chat = echo(context_window=len(PROMPT.page.split()) + 80)
    inputs = ["a", "word " * 200, "c"]
    first, error, last = texts(await run(way, chat, inputs, return_exceptions=True))
    assert (first, last) == ("re: a", "re: c")
    assert isinstance(error, ContextOverflowError)
    assert model.calls == [["a", "c"]]
    with pytest.raises(ContextOverflowError):
        await run(way, chat, inputs)


@pytest.mark.parametrize("way", WAYS)
async def test_a_failure_of_the_model_is_everyones(way: str) -> None:
    """Where the model itself fails, each input has that error, and nobody waits for ever."""

    class Broken(EchoModel):
        def complete(self, requests: Sequence[Request]) -> list[CompletionChunk]:
            raise GenerationError("broken")

        async def acomplete(self, requests: Sequence[Request]) -> list[CompletionChunk]:
            raise GenerationError("broken")

    chat = ChatUrial(llm=Broken(), prompt=PROMPT)
    found = await run(way, chat, "abc", return_exceptions=True)
    assert [str(error) for error in found] == ["broken"] * 3
    with pytest.raises(GenerationError, match="broken"):
        await run(way, chat, "abc")


@pytest.mark.parametrize("way", WAYS)
async def test_cache_hits_do_not_wait_for_the_rest(way: str) -> None:
    """Inputs answered from the cache leave the batch; the others are still one call."""
    model, chat = echo(cache=InMemoryCache())
    chat.invoke("b")
    assert texts(await run(way, chat, "abc")) == ["re: a", "re: b", "re: c"]
    assert texts(await run(way, chat, "abc")) == ["re: a", "re: b", "re: c"]
    assert model.calls == [["b"], ["a", "c"]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "kwargs", [{"stream": True}, {"stop": ["x"]}, {"n": 2}, {"temperature": 1}]
)
async def test_a_batch_takes_the_arguments_of_a_call(way: str, kwargs: dict[str, Any]) -> None:
    """What ``invoke`` understands, ``batch`` does for each input, streaming inside included."""
    model, chat = echo(seed=3)
    assert texts(await run(way, chat, "ab", **kwargs)) == ["re: a", "re: b"]
    assert len(model.calls) == ("stream" not in kwargs)
    if "n" in kwargs:
        assert model.calls == [["a", "a", "b", "b"]]
        assert [request.parameters.seed for request in model.requests] == [3, 4, 3, 4]


@pytest.mark.parametrize("way", WAYS)
async def test_a_listener_for_tokens_does_not_hang_a_batch(way: str) -> None:
    """An input whose run streams leaves the batch; a batch where all do ends as well."""
    from langchain_core.tracers._streaming import _StreamingCallbackHandler

    class Listener(BaseCallbackHandler, _StreamingCallbackHandler[Any]):
        def tap_output_iter(self, run_id: Any, output: Any) -> Any:
            return output

        def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
            return output

    model, chat = echo()
    configs: list[Any] = [{"callbacks": [Listener()]}, {}, {}]
    assert texts(await run(way, chat, "abc", configs)) == ["re: a", "re: b", "re: c"]
    assert (model.streams, model.calls) == (["a"], [["b", "c"]])
    everyone: Any = {"callbacks": [Listener()]}
    assert texts(await run(way, chat, "abc", everyone)) == ["re: a", "re: b", "re: c"]
    assert sorted(model.streams) == ["a", "a", "b", "c"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_batch_of_a_chain_is_a_batch_of_the_model(way: str) -> None:
    """Inside ``prompt | chat | parser``, bound, retried or with a fallback, it is one call too."""
    for wrap in (
        lambda chat: chat,
        lambda chat: chat.bind(stop=["x"]),
        lambda chat: chat.with_config(tags=["t"]),
        lambda chat: chat.with_retry(),
        lambda chat: chat.with_fallbacks([echo()[1]]),
    ):
        model, chat = echo()
        chain = ChatPromptTemplate.from_messages([("human", "{q}?")]) | wrap(chat)
        chain |= StrOutputParser()
        assert await run(way, chain, [{"q": "a"}, {"q": "b"}]) == ["re: a?", "re: b?"]
        assert model.calls == [["a?", "b?"]]


@pytest.mark.parametrize("way", WAYS)
async def test_every_input_asks_the_rate_limiter(way: str) -> None:
    """A rate limit counts inputs, as it does for LangChain's own batch."""

    class Counter(BaseRateLimiter):
        asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            await asyncio.sleep(0.01 * self.asked)
            self.asked += 1
            return True

    limiter = Counter()
    model, chat = echo(rate_limiter=limiter)
    await run(way, chat, "abc")
    assert limiter.asked == 3
    assert model.calls == [["a", "b", "c"]]


@pytest.mark.parametrize("way", WAYS)
async def test_a_completion_llm_gets_the_prompts_in_order(way: str) -> None:
    """Around an LLM that answers from a list, the first input gets the first answer."""
    answers = [f"answer {number}" for number in range(8)]
    chat = ChatUrial(llm=FakeListLLM(responses=answers), prompt=PROMPT)
    assert texts(await run(way, chat, "abcdefgh")) == answers


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
    assert len(model.calls) == (delay > 0.1)
    await asyncio.sleep(0.05)
    assert len(model.calls) == (delay > 0.1)


async def test_the_last_to_come_does_no_work_for_a_cancelled_batch() -> None:
    """Inputs that had asked already are not answered when the batch is cancelled before the last."""

    class SlowForOne(BaseRateLimiter):
        def __init__(self) -> None:
            self.asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            await asyncio.sleep(5.0 if self.asked == 1 else 0.0)
            return True

    model = EchoModel()
    chat = ChatUrial(llm=model, prompt=PROMPT, rate_limiter=SlowForOne())
    task = asyncio.create_task(chat.abatch(["a", "b", "c"]))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)
    assert model.calls == []


async def test_results_can_be_taken_as_they_come() -> None:
    """LangChain's ``batch_as_completed`` works, input by input."""
    _, chat = echo()
    done = dict(chat.batch_as_completed(["a", "b"]))
    assert {index: message.text for index, message in done.items()} == {0: "re: a", 1: "re: b"}
    done = {index: message async for index, message in chat.abatch_as_completed(["a", "b"])}
    assert {index: message.text for index, message in done.items()} == {0: "re: a", 1: "re: b"}
