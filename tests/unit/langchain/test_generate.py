"""`generate` with several conversations."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from batches import echo
from fake_models import EchoModel
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage

from urial_core.errors import ContextOverflowError

WAYS = ["generate", "agenerate"]


def conversations(*texts: str) -> list[list[BaseMessage]]:
    return [[HumanMessage(text)] for text in texts]


async def run(way: str, chat: Any, messages: list[list[BaseMessage]], **kwargs: Any) -> list[str]:
    result = (
        chat.generate(messages, **kwargs)
        if way == "generate"
        else await chat.agenerate(messages, **kwargs)
    )
    return [generation[0].text for generation in result.generations]


def calls(model: EchoModel) -> list[int]:
    return [len(requests) for requests in model.calls]


@pytest.mark.parametrize("way", WAYS)
async def test_several_conversations(way: str) -> None:
    """Several conversations are a request each, with the replies in order."""
    model, chat = echo()
    assert await run(way, chat, conversations("a", "b", "c")) == ["re: a", "re: b", "re: c"]
    assert calls(model) == [1, 1, 1]


@pytest.mark.parametrize("way", WAYS)
async def test_the_same_twice(way: str) -> None:
    """Equal conversations get a reply each, and so does each of n."""
    model, chat = echo(n=2)
    assert await run(way, chat, conversations("a", "a")) == ["re: a", "re: a"]
    assert calls(model) == [2, 2]


@pytest.mark.parametrize("way", WAYS)
async def test_one_conversation(way: str) -> None:
    """One conversation is one call."""
    model, chat = echo()
    assert await run(way, chat, conversations("a")) == ["re: a"]
    assert calls(model) == [1]


@pytest.mark.parametrize("way", WAYS)
async def test_a_cache_is_asked_first(way: str) -> None:
    """With a cache, what it holds is not computed again."""
    model, chat = echo(cache=InMemoryCache())
    await run(way, chat, conversations("a", "b"))
    await run(way, chat, conversations("a", "b"))
    await run(way, chat, conversations("c", "a", "d"))
    assert sorted(model.calls) == [["a"], ["b"], ["c"], ["d"]]


@pytest.mark.parametrize("way", WAYS)
async def test_a_conversation_that_does_not_fit(way: str) -> None:
    """One that does not fit is an error, as it is alone."""
    _, chat = echo(context_window=400, max_tokens=5)
    with pytest.raises(ContextOverflowError):
        await run(way, chat, conversations("a", "word " * 500))


@pytest.mark.parametrize("way", WAYS)
async def test_callbacks(way: str) -> None:
    """Each conversation has a run of its own, begun and ended."""

    class Runs(BaseCallbackHandler):
        def __init__(self) -> None:
            self.events = list[str]()

        def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            self.events.append("start")

        def on_llm_end(self, *_: Any, **__: Any) -> None:
            self.events.append("end")

    runs = Runs()
    _, chat = echo()
    await run(way, chat, conversations("a", "b"), callbacks=[runs])
    assert sorted(runs.events) == ["end", "end", "start", "start"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_id_is_the_first_conversations(way: str) -> None:
    """The run of each conversation is in the result; a given id is that of the first."""
    _, chat = echo()
    first = uuid4()
    messages = conversations("a", "b")
    result = (
        chat.generate(messages, run_id=first)
        if way == "generate"
        else await chat.agenerate(messages, run_id=first)
    )
    assert result.run is not None
    assert [info.run_id == first for info in result.run] == [True, False]
