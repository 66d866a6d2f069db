"""Batches: many inputs are one call of the model, and one run each for LangChain."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from batches import WAYS, echo, run, texts
from fake_models import PROMPT, EchoModel, query_of
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, CompletionRequest, GenerationError, ServerUnreachableError
from urial_core.completion import ModelFeatures

pytestmark = pytest.mark.timeout(30)  # the likely failure is a deadlock


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
    assert [question for call in model.calls for question in call] == questions
    assert len(model.calls) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_max_concurrency_is_the_most_that_go_together(way: str) -> None:
    """``max_concurrency`` limits how many inputs are answered together."""
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
@pytest.mark.parametrize(
    "kwargs", [{"stream": True}, {"stop": ["x"]}, {"n": 2}, {"temperature": 1}]
)
async def test_a_batch_takes_the_arguments_of_a_call(way: str, kwargs: dict[str, Any]) -> None:
    """``batch`` takes what ``invoke`` takes, for each input, streaming inside included."""
    model, chat = echo(seed=3)
    assert texts(await run(way, chat, "ab", **kwargs)) == ["re: a", "re: b"]
    assert len(model.calls) == ("stream" not in kwargs)
    if "n" in kwargs:
        assert model.calls == [["a", "a", "b", "b"]]
        assert [request.parameters.seed for request in model.requests] == [3, 4, 3, 4]


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
    """A rate limiter counts inputs, as in LangChain's own batch, and does not reorder them."""

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
    assert model.calls == [["a", "b", "c"]]


@pytest.mark.parametrize("way", WAYS)
async def test_a_completion_llm_gets_the_prompts_in_order(way: str) -> None:
    """Around an LLM that answers from a list, the first input gets the first answer."""
    answers = [f"answer {number}" for number in range(8)]
    chat = ChatUrial(llm=FakeListLLM(responses=answers), prompt=PROMPT)
    assert texts(await run(way, chat, "abcdefgh")) == answers


async def test_results_can_be_taken_as_they_come() -> None:
    """LangChain's ``batch_as_completed`` works, input by input."""
    _, chat = echo()
    done = dict(chat.batch_as_completed(["a", "b"]))
    assert {index: message.text for index, message in done.items()} == {0: "re: a", 1: "re: b"}
    done = {index: message async for index, message in chat.abatch_as_completed(["a", "b"])}
    assert {index: message.text for index, message in done.items()} == {0: "re: a", 1: "re: b"}


class SchedulingModel(EchoModel):
    """Writes requests side by side, each as long as its query says, and counts them."""

    features = ModelFeatures(schedules_requests=True)

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.most = 0
        self.long_runs = threading.Event()
        self.others_ended = threading.Semaphore(0)
        self.lock = threading.Lock()

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        (query,) = (query_of(request.prompt) for request in requests)
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        if query == "long":
            self.long_runs.set()
            for _ in range(5):
                assert self.others_ended.acquire(timeout=20)
        else:
            assert self.long_runs.wait(20)
            self.others_ended.release()
        with self.lock:
            self.running -= 1
        return super().complete(requests)

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        return await asyncio.to_thread(self.complete, requests)


@pytest.mark.parametrize("way", WAYS)
async def test_where_the_model_schedules_the_next_input_begins_when_one_ends(way: str) -> None:
    """A long reply delays no other: it ends only after five others, with two running at a time."""
    model = SchedulingModel()
    chat = ChatUrial(llm=model, prompt=PROMPT)
    questions = ["long", *"abcde"]
    found = texts(await run(way, chat, questions, {"max_concurrency": 2}))
    assert found == [f"re: {question}" for question in questions]
    assert model.most == 2
    assert sorted(model.calls) == sorted([question] for question in questions)


@pytest.mark.parametrize("way", WAYS)
async def test_where_the_model_schedules_an_error_belongs_to_its_input(way: str) -> None:
    """The others have their replies; without ``return_exceptions`` the batch fails, and ends."""

    class Choosy(EchoModel):
        features = ModelFeatures(schedules_requests=True)

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
