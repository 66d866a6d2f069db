"""Replies that call tools, as LangChain's messages: whole and in chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_urial.replies import delta_chunk, end_chunk, generation
from urial_core import (
    GenerationParameters,
    InvalidToolCall,
    PromptFormat,
    Reply,
    ReplyEnd,
    TextDelta,
)
from urial_core.composing import ReplyRequest
from urial_core.replies import ToolCallDelta
from urial_core.tools import ToolCall

REQUEST = ReplyRequest(
    prompt="page",
    prefix_length=0,
    stop=(),
    parameters=GenerationParameters(max_tokens=9),
    format=PromptFormat(),
)
END = ReplyEnd("tool_calls")
CALLS = (ToolCall("add", '{"a": 1, "b": "é"}', "x"), ToolCall("now", "{}", "y"))

arguments = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=6), max_size=3)


def whole(reply: Reply) -> AIMessage:
    """The message for a whole reply."""
    message = generation(reply, REQUEST, "model").message
    assert isinstance(message, AIMessage)
    return message


def deltas(calls: Sequence[ToolCall], cuts: int) -> list[ToolCallDelta]:
    """The calls in pieces of so many characters, the first without arguments."""
    pieces = []
    for index, call in enumerate(calls):
        pieces.append(ToolCallDelta(index, call.id, call.name))
        pieces += [
            ToolCallDelta(index, call.id, "", call.arguments[at : at + cuts])
            for at in range(0, len(call.arguments), cuts)
        ]
    return pieces


def streamed(events: Sequence[Any], end: ReplyEnd = END) -> list[AIMessageChunk]:
    """The chunks for a stream of events."""
    chunks = [delta_chunk(event) for event in events] + [end_chunk(end, REQUEST, "model")]
    messages = [chunk.message for chunk in chunks]
    assert all(isinstance(message, AIMessageChunk) for message in messages)
    return messages  # type: ignore[return-value]


def total(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    """The sum of chunks."""
    first, *others = chunks
    return first + others  # type: ignore[return-value]


def test_a_reply_carries_its_calls() -> None:
    """Name, arguments as objects, and id; no text where nothing was said."""
    message = whole(Reply("", END, tool_calls=CALLS))
    assert message.content == ""
    assert [(c["name"], c["args"], c["id"]) for c in message.tool_calls] == [
        ("add", {"a": 1, "b": "é"}, "x"),
        ("now", {}, "y"),
    ]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.response_metadata["end_reason"] == "tool_calls"
    assert whole(Reply("Let me see.", END, tool_calls=CALLS)).content == "Let me see."


def test_what_was_meant_as_a_call_is_reported() -> None:
    """An invalid call keeps what the model wrote, and the reason why it cannot be made."""
    invalid = InvalidToolCall("{nonsense", "It is no JSON.", "add", "x")
    message = whole(Reply("", ReplyEnd("tool_calls", invalid_tool_calls=(invalid,))))
    assert message.tool_calls == []
    assert message.invalid_tool_calls == [
        {
            "type": "invalid_tool_call",
            "name": "add",
            "args": "{nonsense",
            "id": "x",
            "error": "It is no JSON.",
        }
    ]


def test_a_call_that_only_does_not_fit_is_left_to_langchains_tools() -> None:
    """A tool's own check tells the model what is wrong; at an invalid call, an agent would end."""
    unfit = InvalidToolCall('{"a": "x"}', "'x' is not an integer.", "add", "x")
    end = ReplyEnd("tool_calls", invalid_tool_calls=(unfit,))
    for message in (whole(Reply("", end)), total(streamed([], end))):
        [call] = message.tool_calls
        assert (call["name"], call["args"], call["id"]) == ("add", {"a": "x"}, "x")
        assert message.invalid_tool_calls == []


@pytest.mark.parametrize("text", ['{"a": 1', '["a"]', "{nonsense", "", "add(1)"])
def test_an_invalid_call_stays_invalid_in_a_stream(text: str) -> None:
    """LangChain, which completes broken arguments by guessing, does not make a call of it."""
    invalid = InvalidToolCall(text, "It does not fit.", "add", "x")
    end = ReplyEnd("length", invalid_tool_calls=(invalid,))
    merged = total(streamed([TextDelta("Let me see.")], end))
    assert merged.tool_calls == []
    [again] = merged.invalid_tool_calls
    assert (again["name"], json.loads(again["args"] or ""), again["id"]) == ("add", text, "x")


@pytest.mark.parametrize("cuts", [1, 3, 100])
def test_chunks_add_up_to_the_calls(cuts: int) -> None:
    """However the arguments are cut, the sum of the chunks has the calls of the whole reply."""
    text = [TextDelta("Let me "), TextDelta("see.")]
    chunks = streamed([*text, *deltas(CALLS, cuts)])
    merged = total(chunks)
    message = whole(Reply("Let me see.", END, tool_calls=CALLS))
    for name in ("content", "tool_calls", "invalid_tool_calls", "response_metadata"):
        assert getattr(merged, name) == getattr(message, name), name
    assert [chunk.chunk_position for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].chunk_position == "last"


@given(st.lists(arguments, min_size=1, max_size=3), st.integers(1, 9))
def test_any_calls_survive_the_stream(values: list[dict[str, Any]], cuts: int) -> None:
    """For all arguments and cuts: what LangChain adds up is what was called, in order."""
    calls = [
        ToolCall(f"tool{number}", json.dumps(value), f"id{number}")
        for number, value in enumerate(values)
    ]
    merged = total(streamed(deltas(calls, cuts)))
    assert [(c["name"], c["args"], c["id"]) for c in merged.tool_calls] == [
        (call.name, call.values, call.id) for call in calls
    ]
    assert merged.invalid_tool_calls == []


def test_name_and_id_come_once() -> None:
    """The first chunk of a call has its name and id; the others only arguments and the index."""
    chunks = streamed(deltas(CALLS[:1], 4))[:-1]
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert (pieces[0]["name"], pieces[0]["id"], pieces[0]["index"]) == ("add", "x", 0)
    assert {(piece["name"], piece["id"], piece["index"]) for piece in pieces[1:]} == {
        (None, None, 0)
    }
    assert "".join(piece["args"] or "" for piece in pieces) == CALLS[0].arguments


def test_blocks_of_the_new_form_hold_the_calls() -> None:
    """``content_blocks`` has the text, then each call, whole or streamed."""
    text = TextDelta("Let me see.")
    merged = total(streamed([text, *deltas(CALLS, 5)]))
    for message in (merged, whole(Reply("Let me see.", END, tool_calls=CALLS))):
        kinds = [block["type"] for block in message.content_blocks]
        assert kinds == ["text", "tool_call", "tool_call"]


def test_langchains_own_sum_is_the_same() -> None:
    """What ``invoke`` makes of a stream, as LangGraph has it do, has the calls too."""
    events = [delta_chunk(piece) for piece in deltas(CALLS, 5)]
    chunks = [*events, end_chunk(END, REQUEST, "model")]
    message = generate_from_stream(iter(chunks)).generations[0].message
    assert isinstance(message, AIMessage)
    assert message.tool_calls == whole(Reply("", END, tool_calls=CALLS)).tool_calls
    assert message.response_metadata["finish_reason"] == "tool_calls"
