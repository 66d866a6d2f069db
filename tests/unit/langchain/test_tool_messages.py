"""Tool calls and results in a conversation, as the core's messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from langchain_urial.translation import core_messages
from urial_core import Message, ToolCall

ADD = tool_call(name="add", args={"a": 1}, id="1")
CALL = ToolCall("add", '{"a": 1}', "1")
BLOCK = {"type": "tool_use", "name": "add", "input": {"a": 1}, "id": "1"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("Well.", tool_calls=[ADD]),
        AIMessage(["Well.", BLOCK]),
        AIMessage(["Well.", BLOCK], tool_calls=[ADD]),
        AIMessage(content_blocks=[{"type": "text", "text": "Well."}, ADD]),
        AIMessage([{"type": "text", "text": "Well."}, {"type": "tool_call", **ADD}]),
        AIMessage(
            ["Well.", {"type": "function_call", "name": "add", "arguments": '{"a": 1}', "id": "1"}]
        ),
        AIMessage(
            "Well.",
            additional_kwargs={
                "tool_calls": [
                    {"id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}, "type": "f"}
                ]
            },
        ),
        AIMessageChunk(
            content="Well.", tool_call_chunks=[tool_call_chunk(name="add", args='{"a": 1}', id="1")]
        ),
    ],
    ids=range(8),
)
def test_a_call_is_read_once_wherever_it_stands(message: AIMessage) -> None:
    """LangChain's field, its blocks, Anthropic's and OpenAI's: each call is one of the core's."""
    assert core_messages([message]) == [Message("assistant", "Well.", tool_calls=(CALL,))]


def test_calls_keep_their_order() -> None:
    """Several calls are written in the order they were made in."""
    calls = [tool_call(name=name, args={}, id=name) for name in "cab"]
    [message] = core_messages([AIMessage("", tool_calls=calls)])
    assert [call.name for call in message.tool_calls] == ["c", "a", "b"]
    assert message.text == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"a": 1}', '{"a": 1}'), ('{"a": ', "{}"), ("[1]", "{}"), (None, "{}")],
)
def test_an_invalid_call_is_written_as_far_as_it_can_be(
    arguments: str | None, expected: str
) -> None:
    """Invalid arguments become an empty object; the call is kept, since its error follows it."""
    invalid = invalid_tool_call(name=None, args=arguments, id="1", error="no")
    [message] = core_messages([AIMessage("", invalid_tool_calls=[invalid])])
    assert message.tool_calls == (ToolCall("unknown", expected, "1"),)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3))
def test_arguments_are_kept(arguments: dict[str, Any]) -> None:
    """Whatever a call's arguments are, the core's call has the same."""
    call = tool_call(name="add", args=arguments, id="1")
    [message] = core_messages([AIMessage("", tool_calls=[call])])
    assert message.tool_calls[0].values == arguments


def cleared(done: bool) -> dict[str, Any]:
    """What LangChain's ContextEditingMiddleware notes in a message."""
    return {"context_editing": {"cleared": done, "strategy": "clear_tool_uses"}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ToolMessage("7", tool_call_id="1"), Message("tool", "7", tool_call_id="1")),
        (
            ToolMessage("7", tool_call_id="1", name="add", artifact=object()),
            Message("tool", "7", name="add", tool_call_id="1"),
        ),
        (
            ToolMessage("Not a number.", tool_call_id="1", status="error"),
            Message("tool", "Not a number.", tool_call_id="1", failed=True),
        ),
        (
            ToolMessage([{"type": "text", "text": "7"}, "8"], tool_call_id="1"),
            Message("tool", "7\n8", tool_call_id="1"),
        ),
        (
            ToolMessage("[cleared]", tool_call_id="1", response_metadata=cleared(True)),
            Message("tool", "[cleared]", tool_call_id="1", cleared=True),
        ),
        *(
            (
                ToolMessage("7", tool_call_id="1", response_metadata=metadata),
                Message("tool", "7", tool_call_id="1"),
            )
            for metadata in (cleared(False), {"context_editing": None})
        ),
        (FunctionMessage("7", name="add"), Message("tool", "7", name="add")),
    ],
)
def test_a_result_tells_what_it_answers_and_how_it_ended(
    message: BaseMessage, expected: Message
) -> None:
    """A result keeps its text, tool, call, failure and clearing, and no artifact."""
    assert core_messages([message]) == [expected]


def test_an_old_function_call_is_a_call() -> None:
    """OpenAI's ``function_call``, which knew no ids, is read too."""
    old = {"function_call": {"name": "add", "arguments": '{"a": 1}'}}
    [message] = core_messages([AIMessage("", additional_kwargs=old)])
    assert message.tool_calls == (ToolCall("add", '{"a": 1}', ""),)


def test_anthropics_results_stand_in_human_messages() -> None:
    """A ``tool_result`` block is a message of its own; the text around it keeps its place."""
    result = {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "text", "text": "7"}],
        "is_error": True,
    }
    assert core_messages([HumanMessage(["Here:", result, {"type": "text", "text": "And?"}])]) == [
        Message("user", "Here:"),
        Message("tool", "7", tool_call_id="1", failed=True),
        Message("user", "And?"),
    ]
    assert core_messages([HumanMessage([{"type": "tool_result", "tool_use_id": "1"}])]) == [
        Message("tool", "", tool_call_id="1")
    ]
