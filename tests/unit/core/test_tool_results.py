"""Tool results in a prompt: each follows its call, whatever the conversation's order is."""

from __future__ import annotations

from typing import Any

import pytest

from urial_core import ConversationError, Message, Prompt, ToolCall, compose

PROMPT = Prompt(name="tiny", instruction="Be kind.")
ASK = Message("user", "Weather?")


def call(number: int, name: str = "weather", call_id: str | None = None) -> ToolCall:
    """Create a call."""
    return ToolCall(name, f'{{"city": {number}}}', str(number) if call_id is None else call_id)


def calling(*calls: ToolCall) -> Message:
    """Create an assistant's message that holds nothing but calls."""
    return Message("assistant", tool_calls=calls)


def result(text: str, call_id: str | None = None, name: str | None = None) -> Message:
    """Create a tool's result."""
    return Message("tool", text, name=name, tool_call_id=call_id)


def written(*messages: Message) -> list[str]:
    """Return the turns after the query, in order, as ``header: text``."""
    request = compose(PROMPT, [ASK, *messages])
    turns = request.prompt[request.prefix_length :].split("\n# ")[2:-1]
    return [turn.replace("\n````\n", " ").strip(" \n`") for turn in turns]


CALL_1, CALL_2 = (f'Tool call: {{"name": "weather", "arguments": {{"city": {n}}}}}' for n in (1, 2))
BOTH = f"{CALL_1}\n{CALL_2.removeprefix('Tool call: ')}"
OPEN = "Tool result: weather (no result yet)"


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        pytest.param(
            [calling(call(1), call(2)), result("sun", "1"), result("rain", "2")],
            [BOTH, "Tool result: weather\nsun", "Tool result: weather\nrain"],
            id="in order",
        ),
        pytest.param(
            [calling(call(1), call(2)), result("rain", "2"), result("sun", "1")],
            [BOTH, "Tool result: weather\nsun", "Tool result: weather\nrain"],
            id="out of order",
        ),
        pytest.param(
            [calling(call(1), call(2)), result("rain", "2")],
            [BOTH, OPEN, "Tool result: weather\nrain"],
            id="one open",
        ),
        pytest.param([calling(call(1))], [CALL_1, OPEN], id="last"),
        pytest.param(
            [calling(call(1)), Message("user", "Hurry."), result("sun", "1")],
            [CALL_1, "Tool result: weather\nsun", "Query: Hurry."],
            id="late",
        ),
        pytest.param(
            [calling(call(1)), calling(call(2)), result("rain", "2"), result("sun", "1")],
            [CALL_1, "Tool result: weather\nsun", CALL_2, "Tool result: weather\nrain"],
            id="of two messages",
        ),
        pytest.param(
            [result("lost", "9"), result("named", "9", "add")],
            ["Tool result: lost", "Tool result: add\nnamed"],
            id="without a call",
        ),
        pytest.param(
            [calling(call(1)), result("sun", "1"), result("more", "1")],
            [CALL_1, "Tool result: weather\nsun", "Tool result: weather\nmore"],
            id="two of one call",
        ),
        pytest.param(
            [
                *(calling(call(1, call_id="x")), result("sun", "x")),
                *(calling(call(2, call_id="x")), result("rain", "x")),
            ],
            [CALL_1, "Tool result: weather\nsun", CALL_2, "Tool result: weather\nrain"],
            id="an id used again",
        ),
        pytest.param(
            [
                calling(call(1, "add", ""), call(2, call_id="")),
                *(result("rain", name="weather"), result("3", name="add")),
            ],
            [
                f"{CALL_1.replace('weather', 'add')}\n{CALL_2.removeprefix('Tool call: ')}",
                *("Tool result: weather\nrain", "Tool result: add\n3"),
            ],
            id="without ids",
        ),
    ],
)
def test_each_result_follows_its_call(messages: list[Message], turns: list[str]) -> None:
    """Results stand in the order of their calls; a call without one is marked."""
    assert written(*messages) == turns


def test_a_call_cannot_be_continued() -> None:
    """A final call is no beginning of a reply in text."""
    with pytest.raises(ConversationError, match="leave out prefill=True"):
        compose(PROMPT, [ASK, calling(call(1))], prefill=True)


@pytest.mark.parametrize("arguments", ["{bad", "[1]", "[" * 9_000, None])
def test_arguments_that_are_no_object_are_refused(arguments: Any) -> None:
    """A call whose arguments are not a JSON object is an error that names it, as of a message."""
    called = calling(ToolCall("weather", arguments, "1"))
    with pytest.raises(ConversationError, match=r"call of 'weather' .*a JSON object"):
        compose(PROMPT, [ASK, called, result("sun", "1")])
