"""Tokens: counted by the model's own tokenizer, and what happens when there are too many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_models import PROMPT, EnglishModel, PlainLLM, chat_of
from langchain_core.exceptions import ContextOverflowError as LangChainContextOverflowError
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    trim_messages,
)
from langchain_core.tools import tool

from langchain_urial import ChatUrial
from urial_core import ContextOverflowError
from urial_core.composing import MIN_REPLY_TOKENS
from urial_core.errors import UnsupportedContentError, UnsupportedModelError

PAGE = len(PROMPT.prefix.split())
FRAME = 4
"""Words that a turn's header and its two fences add."""


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}."


def letters(text: str) -> list[int]:
    """A tokenizer: a token is a letter."""
    return list(map(ord, text))


def history(turns: int) -> list[BaseMessage]:
    """A conversation of numbered turns after a rule."""
    messages: list[BaseMessage] = [SystemMessage("Rule")]
    for number in range(turns):
        messages += [HumanMessage(f"question {number}"), AIMessage(f"answer {number}")]
    return [*messages, HumanMessage("last")]


def test_texts_are_counted_by_the_models_tokenizer() -> None:
    """``get_num_tokens`` asks the model; ``custom_get_token_ids`` takes precedence."""
    assert chat_of().get_num_tokens("one two three") == 3
    chat = chat_of(custom_get_token_ids=letters)
    assert chat.get_num_tokens("one") == 3
    assert chat.get_token_ids("ab") == [97, 98]


def test_token_ids_come_from_the_model_or_not_at_all() -> None:
    """LangChain's default tokenizer, GPT-2's, is never used."""
    with pytest.raises(UnsupportedModelError, match="custom_get_token_ids"):
        ChatUrial(llm=PlainLLM()).get_token_ids("one")


def test_an_llms_own_tokenizer_is_used_throughout() -> None:
    """What an LLM was given as its tokenizer counts for the chat model too."""
    chat = ChatUrial(llm=PlainLLM(custom_get_token_ids=letters), prompt=PROMPT)
    assert chat.get_num_tokens("four") == 4
    assert chat.get_token_ids("ab") == [97, 98]
    usage = chat.invoke("Hi").usage_metadata
    assert usage is not None
    assert usage["input_tokens"] > len(PROMPT.prefix)


def test_without_a_tokenizer_the_count_is_a_careful_guess() -> None:
    """A guess errs on the side of too many, and no usage is made up from it."""
    chat = ChatUrial(llm=PlainLLM(), prompt=PROMPT)
    assert chat.get_num_tokens("x" * 300) == 101
    assert chat.invoke("Hi").usage_metadata is None


def test_messages_are_counted_as_they_stand_on_the_page() -> None:
    """Turns count with their headers and fences; the constant prompt prefix does not count."""
    chat = chat_of()
    one = chat.get_num_tokens_from_messages([HumanMessage("Hi there")])
    assert one == FRAME + 2
    assert chat.get_num_tokens_from_messages([]) == 0
    assert chat.get_num_tokens_from_messages([HumanMessage("Hi there"), AIMessage("Yes")]) == (
        one + FRAME + 1
    )
    assert chat.prefix_tokens == PAGE
    with pytest.raises(UnsupportedContentError):
        chat.get_num_tokens_from_messages([HumanMessage([{"type": "image", "url": "x"}])])


def test_trim_messages_can_count_with_the_chat_model() -> None:
    """LangChain's ``trim_messages`` takes the chat model as its counter, and keeps its limit."""
    chat = chat_of()
    kept = trim_messages(
        history(10), max_tokens=50, token_counter=chat, include_system=True, start_on="human"
    )
    assert kept[0].type == "system"
    assert kept[1].type == "human"
    assert kept[-1].content == "last"
    assert 3 < len(kept) < 21
    assert chat.get_num_tokens_from_messages(kept) <= 50


def test_what_fits_by_the_profile_fits_the_window() -> None:
    """Messages trimmed to the profile's ``max_input_tokens`` less a reply are accepted."""
    chat = chat_of(context_window=PAGE + 200, max_tokens=64)
    assert chat.profile is not None
    room = chat.profile["max_input_tokens"] - 64 - FRAME
    kept = trim_messages(history(40), max_tokens=room, token_counter=chat, include_system=True)
    assert chat.invoke(kept).content == "Hello!"


@pytest.mark.parametrize("prompt", ["default", "short"])
@pytest.mark.parametrize("window", [2048, 3072, 4096, 8192])
@pytest.mark.parametrize("with_tool", [True, False])
def test_the_profiles_limit_holds_for_calls_with_tools(
    prompt: str, window: int, with_tool: bool
) -> None:
    """Messages, tools and the shortest reply that fit ``max_input_tokens`` fit the window."""
    chat = ChatUrial(llm=EnglishModel(), prompt=prompt, context_window=window)
    tools = [get_weather] if with_tool else []
    limit = chat.profile["max_input_tokens"]  # type: ignore[index]
    room = limit - MIN_REPLY_TOKENS - chat.get_num_tokens_from_messages([], tools)
    messages = [HumanMessage("word" * (room - 6))]
    count = chat.get_num_tokens_from_messages(messages, tools)
    assert limit - 16 < count + MIN_REPLY_TOKENS <= limit
    reply = chat.bind_tools(tools).invoke(messages) if tools else chat.invoke(messages)
    assert reply.text == "Hello!"


def test_the_profiles_limit_is_never_next_to_nothing() -> None:
    """In a window that the prompt fills it is 128, for a short query, or all of a tinier window."""
    for window, limit in ((1800, 128), (1000, 128), (100, 100)):
        chat = ChatUrial(llm=EnglishModel(), context_window=window)
        assert (chat.profile or {})["max_input_tokens"] == limit


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_what_does_not_fit_is_langchains_error_and_this_projects(way: str) -> None:
    """The error is an instance of both classes, and names the sizes and the remedies."""
    chat = chat_of(context_window=PAGE + 100)
    long = "word " * 100
    attempts: dict[str, Callable[[], Any]] = {
        "invoke": lambda: chat.invoke(long),
        "ainvoke": lambda: asyncio.run(chat.ainvoke(long)),
        "stream": lambda: list(chat.stream(long)),
        "astream": lambda: asyncio.run(anext(chat.astream(long))),
    }
    with pytest.raises(LangChainContextOverflowError, match="overflow='truncate'") as caught:
        attempts[way]()
    assert isinstance(caught.value, ContextOverflowError)
    assert caught.value.window == PAGE + 100
    assert chat.llm.requests == []


def test_overflow_trim_drops_the_oldest_turns() -> None:
    """With ``overflow="truncate"`` the oldest turns are dropped; system and last messages stay."""
    chat = chat_of(context_window=PAGE + 130, overflow="truncate", max_tokens=64)
    message = chat.invoke(history(10))
    [request] = chat.llm.requests
    assert "Rule" in request.prompt
    assert "last" in request.prompt
    assert "question 9" in request.prompt
    assert "question 0" not in request.prompt
    assert message.response_metadata["truncated_messages"] % 2 == 0
    assert len(request.prompt.split()) + 64 <= PAGE + 130


def test_the_window_leaves_room_for_the_reply() -> None:
    """Without ``max_tokens`` a reply takes what the window leaves; with it, so much is reserved."""
    chat = chat_of(context_window=PAGE + 200)
    chat.invoke("Hi")
    [request] = chat.llm.requests
    assert request.max_tokens == PAGE + 200 - len(request.prompt.split())
    with pytest.raises(ContextOverflowError):
        chat.invoke("Hi", max_tokens=200)
