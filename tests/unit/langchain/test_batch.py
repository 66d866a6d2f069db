"""Batches: many inputs side by side, and one run each for LangChain."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from batches import WAYS, echo, run, texts
from fake_models import PROMPT, EchoModel, query_of
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, CompletionRequest, GenerationError, ServerUnreachableError
from urial_core.completion import ModelFeatures

pytestmark = pytest.mark.timeout(30)  # the likely failure is a deadlock


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 1, 2, 16, 64, 100])
async def test_replies_are_in_the_order_of_the_inputs(way: str, count: int) -> None:
    """Each input is one request, and the replies are in the inputs' order, whoever is first."""
    model, chat = echo()
    questions = [f"q{number}" for number in range(count)]
    assert texts(await run(way, chat, questions)) == [f"re: {question}" for question in questions]
    assert sorted(model.calls) == sorted([question] for question in questions)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("limit", "together"), [(None, 40), (2, 2)])
async def test_max_concurrency_is_the_most_that_run_at_a_time(
    way: str, limit: int | None, together: int
) -> None:
    """``max_concurrency`` limits how many are answered at a time; without it, many are."""
    model = CountingModel(together)
    chat = ChatUrial(llm=model, prompt=PROMPT)
    config = {} if limit is None else {"max_concurrency": limit}
    await run(way, chat, [f"q{number}" for number in range(40)], config)
    assert model.most == together


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
    assert sorted(model.calls) == [["a"], ["b"]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "kwargs", [{"stream": True}, {"stop": ["x"]}, {"n": 2}, {"temperature": 1}]
)
async def test_a_batch_takes_the_arguments_of_a_call(way: str, kwargs: dict[str, Any]) -> None:
    """``batch`` takes what ``invoke`` takes, for each input, streaming inside included."""
    model, chat = echo(seed=3)
    assert texts(await run(way, chat, "ab", **kwargs)) == ["re: a", "re: b"]
    assert len(model.streams) == (2 if "stream" in kwargs else 0)
    if "n" in kwargs:
        assert sorted(model.calls) == [["a", "a"], ["b", "b"]]
        assert [request.parameters.seed for request in model.requests] == [3, 4, 3, 4]


@pytest.mark.parametrize("way", WAYS)
async def test_a_batch_of_a_chain(way: str) -> None:
    """Inside ``prompt | chat | parser``, bound, retried or with a fallback, it is the same."""
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
        assert sorted(model.calls) == [["a?"], ["b?"]]


@pytest.mark.parametrize("way", WAYS)
async def test_every_input_asks_the_rate_limiter(way: str) -> None:
    """A rate limiter counts inputs, as in LangChain's own batch."""

    class Counter(BaseRateLimiter):
        asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            time.sleep(0.2 / self.asked)
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            await asyncio.sleep(0.2 / self.asked)
            return True

    limiter = Counter()
    model, chat = echo(rate_limiter=limiter)
    await run(way, chat, "abc")
    assert limiter.asked == 3
    assert sorted(model.calls) == [["a"], ["b"], ["c"]]


async def test_results_can_be_taken_as_they_come() -> None:
    """LangChain's ``batch_as_completed`` works, input by input."""
    _, chat = echo()
    done = dict(chat.batch_as_completed(["a", "b"]))
    assert {index: message.text for index, message in done.items()} == {0: "re: a", 1: "re: b"}
    done = {index: message async for index, message in chat.abatch_as_completed(["a", "b"])}
    assert {index: message.text for index, message in done.items()} == {0: "re: a", 1: "re: b"}


class CountingModel(EchoModel):
    """Counts how many requests run at a time; each waits until ``together`` of them do."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self.running = self.most = 0
        self.lock = threading.Lock()
        self.all_run = threading.Barrier(together, timeout=20)
        self.all_await = asyncio.Barrier(together)

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        yield
        with self.lock:
            self.running -= 1

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        with self.counted():
            self.all_run.wait()
        return super().complete(requests)

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        with self.counted():
            await self.all_await.wait()
        return await super().acomplete(requests)


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_belongs_to_its_input(way: str) -> None:
    """The others have their replies; without ``return_exceptions`` the batch fails, and ends."""

    class Choosy(EchoModel):
        def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            if query_of(requests[0].prompt) == "bad":
                raise GenerationError("no")
            return super().complete(requests)

        async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            return self.complete(requests)

    chat = ChatUrial(llm=Choosy(), prompt=PROMPT)
    inputs, limit = ["a", "bad", "c"], {"max_concurrency": 1}
    first, error, last = texts(await run(way, chat, inputs, limit, return_exceptions=True))
    assert (first, last) == ("re: a", "re: c")
    assert isinstance(error, GenerationError)
    with pytest.raises(GenerationError, match="no"):
        await run(way, chat, inputs, limit)


@pytest.mark.parametrize("way", WAYS)
async def test_an_unreachable_server_is_every_inputs_error(way: str) -> None:
    """Its features cannot be read; the error is reported for each input."""

    class OutOfReach(EchoModel):
        @property
        def features(self) -> ModelFeatures:
            raise ServerUnreachableError("away")

        def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            raise ServerUnreachableError("away")

        async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
            raise ServerUnreachableError("away")

    chat = ChatUrial(llm=OutOfReach(), prompt=PROMPT)
    found = await run(way, chat, ["a", "b"], return_exceptions=True)
    assert [str(error) for error in found] == ["away", "away"]
