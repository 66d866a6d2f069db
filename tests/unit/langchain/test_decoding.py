"""The field ``decoding`` of ChatUrial."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_urial import ChatUrial
from urial_core import (
    BestOfN,
    CompletionChunk,
    Nudging,
    ParameterError,
    TokenLogprob,
    Usage,
    load_prompt,
)
from urial_core.testing import FakeModel


def chat_of(decoding: Any) -> ChatUrial:
    """Return a chat model that samples replies of rising log-probability."""
    samples = [
        [CompletionChunk(text, "stop", Usage(5, 1, 0), (TokenLogprob(text, value),))]
        for text, value in (("one", -3.0), ("two", -2.0), ("three", -1.0))
    ]
    model = FakeModel(*samples)
    return ChatUrial(llm=model, prompt=load_prompt("short"), decoding=decoding)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_the_chosen_reply_and_its_metadata(way: str) -> None:
    """Called in any way, the best sample is the message; usage counts all samples."""
    chat = chat_of(BestOfN(n=3))
    match way:
        case "invoke":
            message: AIMessage = chat.invoke("Hi")
        case "ainvoke":
            message = await chat.ainvoke("Hi")
        case "stream":
            message = sum(chat.stream("Hi"), start=AIMessageChunk(content=""))
        case _:
            chunks = [chunk async for chunk in chat.astream("Hi")]
            message = sum(chunks, start=AIMessageChunk(content=""))
    assert message.text == "three"
    decoding = message.response_metadata["decoding"]
    assert (decoding["strategy"], decoding["chosen"]) == ("best_of_n", 2)
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 3


def test_a_call_may_set_it() -> None:
    """The call's strategy takes precedence over the setting, which may be a name."""
    chat = chat_of("best_of_n")
    assert chat.invoke("Hi", decoding=BestOfN(n=2)).text == "two"
    assert len(chat.llm.requests) == 2


def test_an_unknown_strategy_is_refused_at_once() -> None:
    """An unknown name is an error of the constructor."""
    with pytest.raises(ParameterError, match="best_of_n"):
        chat_of("best")


def test_it_is_part_of_the_cache_key() -> None:
    """Chat models with different strategies share no cached replies."""
    keys = {chat_of(value)._get_llm_string() for value in (None, BestOfN(n=2), BestOfN(n=3))}
    assert len(keys) == 3


def test_a_chat_model_of_langchain_nudges() -> None:
    """A chat model writes the opener, given the conversation."""
    aligned = FakeListChatModel(responses=["Gladly! And so on."])
    decoding = Nudging(nudge_with=aligned, threshold=0, opener=1)
    model = FakeModel([" It is."])
    chat = ChatUrial(llm=model, prompt=load_prompt("short"), decoding=decoding)
    assert chat.invoke("Is it?").text == "Gladly! It is."
