"""Values that repeat themselves on and on."""

from __future__ import annotations

import json

import pytest

from urial_core import (
    GenerationParameters,
    JsonSchema,
    Message,
    Tool,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.completion import CompletionChunk
from urial_core.structured.json_scanner import JsonValue
from urial_core.testing import FakeModel
from urial_core.tools import call_start

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
LOOP = "I'm a cat. " * 40


@pytest.mark.parametrize("unit", ["x", "ab", "I'm a cat. ", 'a\\"b', "the cat says a word "])
def test_a_loop_is_closed(unit: str) -> None:
    """A string that has repeated itself long enough ends there, and the value with it."""
    value = JsonValue()
    value.feed('{"a": {"b": ["Well, ')
    for _ in range(200):
        if not value.complete:
            value.feed(unit)
            value.close_loop()
    found = json.loads(value.text)["a"]["b"][0]
    assert 160 <= len(found) + found.count('"') <= 180 + 2 * len(unit)


@pytest.mark.parametrize(
    "text",
    ["-" * 120 + "\\n| a | b |", "one two three " * 10, " ".join(map(str, range(300)))],
)
def test_rulers_and_counting_are_no_loops(text: str) -> None:
    """Repetition that ends, or that changes, is text; so are numbers in a list."""
    value = JsonValue()
    for part in (f'{{"a": "{text}', '", "b": [' + "0, " * 300):
        value.feed(part)
        value.close_loop()
        assert not value.complete


@pytest.mark.parametrize("finish", [None, "length"])
def test_a_value_that_loops_is_whole(finish: str | None) -> None:
    """It is no cut value, whether the model was stopped there or ran to its limit."""
    model = FakeModel([CompletionChunk('"a": "' + LOOP, finish)])
    chat = UrialChat(model, load_prompt("short"))
    request = chat.request(
        [Message("user", "Who?")], GenerationParameters(), response_format=JsonSchema.of(SCHEMA)
    )
    (reply,) = chat.reply([request])
    assert json.loads(reply.text)["a"].startswith("I'm a cat.")
    assert reply.end.finish_reason == "stop"


def test_a_call_that_loops_is_whole() -> None:
    """Its arguments are validated like any other's."""
    tool = Tool.of("f", "Does it.", SCHEMA)
    model = FakeModel([f'{call_start("f")[len(call_start("f").rstrip()) :]}{{"a": "{LOOP}'])
    chat = UrialChat(model, load_prompt("short"))
    use = ToolUse((tool,), choice="required")
    request = chat.request([Message("user", "Who?")], GenerationParameters(), tools=use)
    (reply,) = chat.reply([request])
    assert [set(call.values) for call in reply.tool_calls] == [{"a"}]
