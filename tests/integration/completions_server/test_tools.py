"""Tool calls and typed replies of a real server, which constrains them."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel
from running_server import RunningServer

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]


class GetWeather(BaseModel):
    """Report the weather of a city."""

    city: Literal["Paris", "Rome", "Oslo"]
    unit: Literal["celsius", "fahrenheit"]


class Capital(BaseModel):
    """A country's capital."""

    country: Literal["France", "Italy"]
    capital: Literal["Paris", "Rome"]


@pytest.fixture
def chat(server: RunningServer) -> ChatUrial:
    """A greedy chat model with a short prompt."""
    return ChatUrial.from_endpoint(server.base_url, prompt="short", max_tokens=48, timeout=120.0)


def is_call(call: Any) -> bool:
    """Return whether a call is a complete and valid one of the tool."""
    return call["name"] == "GetWeather" and bool(GetWeather(**call["args"]))


@pytest.mark.parametrize(
    "way",
    [
        "ainvoke",
        "stream",
        *(pytest.param(way, marks=pytest.mark.matrix) for way in ("invoke", "batch")),
    ],
)
async def test_a_forced_call_is_valid(chat: ChatUrial, way: str) -> None:
    """Name and arguments match the tool, and no delimiter is in the reply."""
    bound = chat.bind_tools([GetWeather], tool_choice="any")
    question = "What is the weather in Paris?"
    match way:
        case "invoke":
            reply = bound.invoke(question)
        case "ainvoke":
            reply = await bound.ainvoke(question)
        case "batch":
            [reply] = bound.batch([question])
        case _:
            reply, *rest = bound.stream(question)
            for chunk in rest:
                reply += chunk
    assert reply.tool_calls
    assert all(map(is_call, reply.tool_calls))
    assert reply.invalid_tool_calls == []
    assert reply.response_metadata["finish_reason"] == "tool_calls"
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] > 100


async def test_the_model_chooses_between_text_and_call(chat: ChatUrial) -> None:
    """It answers in text or calls; either is clean."""
    reply = await chat.bind_tools([GetWeather]).ainvoke("Say hello.")
    assert all(map(is_call, reply.tool_calls))
    assert bool(reply.text) is not bool(reply.tool_calls)
    assert "# " not in reply.text


def test_a_result_is_answered(chat: ChatUrial) -> None:
    """A conversation with a call and its result continues in text."""
    call = {"name": "GetWeather", "args": {"city": "Oslo", "unit": "celsius"}, "id": "1"}
    talk = [
        ("human", "What is the weather in Oslo?"),
        {"role": "assistant", "content": "", "tool_calls": [{**call, "type": "tool_call"}]},
        {"role": "tool", "content": "-3 degrees, snow", "tool_call_id": "1"},
    ]
    reply = chat.bind_tools([GetWeather], tool_choice="none").invoke(talk)
    assert reply.text
    assert not reply.tool_calls


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_typed_replies(chat: ChatUrial, method: str) -> None:
    """The reply is an object of the requested class."""
    typed = chat.with_structured_output(Capital, method=method)
    assert isinstance(typed.invoke("What is the capital of France?"), Capital)


async def test_llamaindex_with_the_same_server(server: RunningServer) -> None:
    """Its LLM class completes, streams and fills in classes."""
    llm = UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=24, timeout=120.0)
    assert llm.complete("Name a fruit.").text
    assert (await llm.acomplete("Name a fruit.")).text
    assert [chunk.delta for chunk in llm.stream_complete("Name a fruit.")]
    assert isinstance(llm.as_structured_llm(Capital).complete("France?").raw, Capital)
