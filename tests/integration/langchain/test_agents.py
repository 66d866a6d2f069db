"""LangChain's agents on the real base model. It is tiny: what is tested is form, not wit."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    LLMToolSelectorMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import BaseModel, Field

from langchain_urial import ChatUrial
from urial_core.backends.transformers import TransformersModel

pytestmark = pytest.mark.model

EXAMPLE = Path(__file__).parents[3] / "examples" / "agent_with_tools.py"
SUM = "What is 127 * 12? Use the calculator."
STRUCTURE = re.compile(
    r"^(# (Query|Answer|Tools|Tool call|Tool result):|`{4})|\"arguments\":", re.MULTILINE
)
LIMIT = {"recursion_limit": 14}


class Verdict(BaseModel):
    """What was found out."""

    result: str = Field(description="The result.")
    certain: bool = Field(description="Whether it is certain.")


@pytest.fixture
def chat(demo_model: TransformersModel) -> ChatUrial:
    """A greedy chat model with short replies, in float32: calls do not depend on rounding."""
    return ChatUrial(llm=demo_model, max_tokens=60, temperature=0)


@pytest.fixture(scope="module")
def tools() -> list[BaseTool]:
    """The calculator and the search of the example."""
    spec = importlib.util.spec_from_file_location("agent_with_tools", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return [example.calculate, example.search]


def calls_of(messages: Sequence[BaseMessage]) -> list[Any]:
    """All calls of a conversation."""
    return [call for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]


def results_of(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """All results of a conversation."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def check(messages: Sequence[BaseMessage]) -> None:
    """Every call has its result, no text holds structure, and the end is an answer."""
    calls = calls_of(messages)
    assert [call["id"] for call in calls] == [
        result.tool_call_id for result in results_of(messages)
    ]
    assert len({call["id"] for call in calls}) == len(calls)
    assert not any(STRUCTURE.search(m.text) for m in messages if isinstance(m, AIMessage))
    assert isinstance(messages[-1], AIMessage)
    assert messages[-1].text
    assert messages[-1].response_metadata["finish_reason"] in ("stop", "length")


def test_an_agent_calls_a_tool_and_answers(chat: ChatUrial, tools: list[BaseTool]) -> None:
    """A question for the calculator makes the loop: call, result, answer."""
    state = create_agent(chat, tools).invoke({"messages": [("human", SUM)]}, LIMIT)
    messages = state["messages"]
    check(messages)
    assert messages[1].tool_calls[0]["name"] == "calculate"
    assert set(messages[1].tool_calls[0]["args"]) == {"expression"}
    assert messages[1].response_metadata["finish_reason"] == "tool_calls"
    assert results_of(messages)[0].name == "calculate"


@pytest.mark.matrix
async def test_the_loop_is_the_same_without_blocking(
    chat: ChatUrial, tools: list[BaseTool]
) -> None:
    """Greedy, the async loop makes the same calls and ends with the same answer."""
    agent = create_agent(chat, tools)
    one = agent.invoke({"messages": [("human", SUM)]}, LIMIT)["messages"]
    other = (await agent.ainvoke({"messages": [("human", SUM)]}, LIMIT))["messages"]
    assert [(c["name"], c["args"]) for c in calls_of(one)] == [
        (c["name"], c["args"]) for c in calls_of(other)
    ]
    assert one[-1].text == other[-1].text


def test_a_tools_error_comes_back_and_the_loop_goes_on(chat: ChatUrial) -> None:
    """An error is a failed result in the prompt; the model may call again, and then answers."""
    failures = ["The calculator is warming up. Try again."]

    @tool
    def calculate(expression: str) -> str:
        """Calculate the value of an arithmetic expression."""
        if failures:
            raise ToolException(failures.pop())
        return "1524"

    calculate.handle_tool_error = True
    state = create_agent(chat, [calculate]).invoke({"messages": [("human", SUM)]}, LIMIT)
    check(state["messages"])
    first, *_ = results_of(state["messages"])
    assert first.status == "error"
    assert "warming up" in first.text


@pytest.mark.matrix
def test_a_final_answer_in_a_schema(chat: ChatUrial, tools: list[BaseTool]) -> None:
    """ProviderStrategy: the model calls, or answers in the schema; the state has the object."""
    for given in ([], tools):
        agent = create_agent(chat, given, response_format=ProviderStrategy(Verdict))
        state = agent.invoke({"messages": [("human", SUM)]}, LIMIT)
        assert isinstance(state["structured_response"], Verdict)
        last = state["messages"][-1]
        assert Verdict.model_validate(json.loads(last.text)) == state["structured_response"]


def test_a_schema_as_a_tool(chat: ChatUrial) -> None:
    """ToolStrategy: the schema is a tool that must be called; the state has the object."""
    agent = create_agent(chat, [], response_format=ToolStrategy(Verdict))
    state = agent.invoke({"messages": [("human", SUM)]}, LIMIT)
    assert isinstance(state["structured_response"], Verdict)


@pytest.mark.matrix
def test_a_bare_schema_is_the_models_own_affair(chat: ChatUrial, tools: list[BaseTool]) -> None:
    """By default, ``create_agent`` reads from the profile that the model has structured output."""
    agent = create_agent(chat, tools, response_format=Verdict)
    state = agent.invoke({"messages": [("human", "Is the sky blue?")]}, LIMIT)
    assert isinstance(state["structured_response"], Verdict)
    called = {call["name"] for call in calls_of(state["messages"])}
    assert called <= {"calculate", "search"}  # the schema was no tool


@pytest.mark.matrix
def test_a_long_conversation_is_summed_up(chat: ChatUrial) -> None:
    """SummarizationMiddleware replaces old turns by a summary that the model writes."""
    summary = SummarizationMiddleware(chat, trigger=("messages", 4), keep=("messages", 1))
    agent = create_agent(chat, [], middleware=[summary])
    turns = [
        ("human", "My cat is called Tom."),
        ("ai", "What a nice name!"),
        ("human", "He is ten years old."),
        ("ai", "He must be wise."),
        ("human", "What do cats eat?"),
    ]
    messages = agent.invoke({"messages": turns}, LIMIT)["messages"]
    assert len(messages) == 3
    assert "summary" in messages[0].text
    assert messages[1].text == "What do cats eat?"
    assert messages[2].text


@pytest.mark.matrix
def test_the_model_chooses_its_tools_first(chat: ChatUrial, tools: list[BaseTool]) -> None:
    """LLMToolSelectorMiddleware asks for the tools that matter, and only those are bound."""
    bound = list[list[str]]()

    class Watch(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            bound.append([item.name for item in request.tools])
            return handler(request)

    selector = LLMToolSelectorMiddleware(max_tools=1)
    agent = create_agent(chat, tools, middleware=[selector, Watch()])
    messages = agent.invoke({"messages": [("human", SUM)]}, LIMIT)["messages"]
    check(messages)
    assert {len(names) for names in bound} == {1}
    assert {name for names in bound for name in names} <= {"calculate", "search"}


@pytest.mark.matrix
def test_a_streamed_agent_shows_no_structure(chat: ChatUrial, tools: list[BaseTool]) -> None:
    """With ``stream_mode="messages"`` text is text, and pieces of calls add up."""
    agent = create_agent(chat, tools)
    pieces = dict[str, AIMessageChunk]()
    results = list[ToolMessage]()
    for message, _ in agent.stream({"messages": [("human", SUM)]}, LIMIT, stream_mode="messages"):
        if isinstance(message, AIMessageChunk):
            before = pieces.get(message.id or "")
            pieces[message.id or ""] = before + message if before else message
        else:
            results.append(message)
    whole = agent.invoke({"messages": [("human", SUM)]}, LIMIT)["messages"]
    replies = [message for message in whole if isinstance(message, AIMessage)]
    assert [piece.text for piece in pieces.values()] == [reply.text for reply in replies]
    assert [(c["name"], c["args"]) for c in calls_of(list(pieces.values()))] == [
        (c["name"], c["args"]) for c in calls_of(whole)
    ]
    assert [c["id"] for c in calls_of(list(pieces.values()))] == [r.tool_call_id for r in results]
    assert not any(STRUCTURE.search(piece.text) for piece in pieces.values())
