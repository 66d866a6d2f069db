"""Tool calls and typed answers by a real server, which holds its model to their form."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel
from running_server import RunningServer

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM

pytestmark = [pytest.mark.server, pytest.mark.model]


class GetWeather(BaseModel):
    """Tell the weather of a city."""

    city: Literal["Paris", "Rome", "Oslo"]
    unit: Literal["celsius", "fahrenheit"]


class Capital(BaseModel):
    """A country's capital."""

    country: Literal["France", "Italy"]
    capital: Literal["Paris", "Rome"]


@pytest.fixture
def chat(server: RunningServer) -> ChatUrial:
    """A greedy chat model with a short page."""
    return ChatUrial.from_endpoint(server.base_url, prompt="short", max_tokens=48, timeout=120.0)


def is_call(call: Any) -> bool:
    """Whether a call is a whole and valid one of the tool."""
    return call["name"] == "GetWeather" and bool(GetWeather(**call["args"]))


@pytest.mark.parametrize(
    "way",
    [
        "ainvoke",
        "stream",
        *(pytest.param(way, marks=pytest.mark.matrix) for way in ("invoke", "batch")),
    ],
)
async def test_a_call_that_must_be_made_is_valid(chat: ChatUrial, way: str) -> None:
    """Its name is the tool's, and its arguments fit the schema; the page's structure stays out."""
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


async def test_whether_to_call_is_the_models_choice(chat: ChatUrial) -> None:
    """It answers in text or calls; either is clean."""
    reply = await chat.bind_tools([GetWeather]).ainvoke("Say hello.")
    assert all(map(is_call, reply.tool_calls))
    assert bool(reply.text) is not bool(reply.tool_calls)
    assert "# " not in reply.text


def test_a_result_is_answered(chat: ChatUrial) -> None:
    """A conversation with a call and its result goes on in text."""
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
def test_typed_answers(chat: ChatUrial, method: str) -> None:
    """The answer is an object of the class that was asked for."""
    typed = chat.with_structured_output(Capital, method=method)
    assert isinstance(typed.invoke("What is the capital of France?"), Capital)


async def test_llama_index_by_the_same_server(server: RunningServer) -> None:
    """Its LLM class answers, streams and fills in classes as well."""
    llm = UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=24, timeout=120.0)
    assert llm.complete("Name a fruit.").text
    assert (await llm.acomplete("Name a fruit.")).text
    assert [chunk.delta for chunk in llm.stream_complete("Name a fruit.")]
    assert isinstance(llm.as_structured_llm(Capital).complete("France?").raw, Capital)
