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
from urial_core.completion import CompletionChunk, ModelFeatures
from urial_core.structured.json_scanner import JsonValue
from urial_core.testing import FakeModel
from urial_core.tools import call_start

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
LOOP = "I'm a cat. " * 40


SENTENCE = "a name in the language of the customer (which is required) and a description of it, "


@pytest.mark.parametrize(
    "unit",
    ["x", "ab", "I'm a cat. ", 'a\\"b', "the cat says a word ", SENTENCE, 3 * "a b " + SENTENCE],
)
def test_a_loop_is_closed(unit: str) -> None:
    """A string that has repeated itself long enough ends there, and the value with it."""
    value = JsonValue()
    value.feed('{"a": {"b": ["Well, ')
    for _ in range(200):
        if not value.complete:
            value.feed(unit)
            value.close_loop()
    found = json.loads(value.text)["a"]["b"][0]
    least = max(160, 4 * len(unit))
    assert least <= len(found) + found.count('"') <= least + 20 + 2 * len(unit)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 120 + "\\n| a | b |",
        "one two three " * 10,
        " ".join(map(str, range(300))),
        SENTENCE * 3,
    ],
)
def test_rulers_and_counting_are_no_loops(text: str) -> None:
    """Repetition that ends, or that changes, is text; so are numbers in a list."""
    value = JsonValue()
    for part in (f'{{"a": "{text}', '", "b": [' + "0, " * 300):
        value.feed(part)
        value.close_loop()
        assert not value.complete


@pytest.mark.parametrize("end", range(0, 160, 7))
def test_a_loop_is_found_wherever_the_text_ends(end: int) -> None:
    """A whole completion may end at any point of a round, whose parts may be alike."""
    part = "a customer's name (a customer's name is required) and "
    value = JsonValue()
    value.feed('{"a": "' + (5 * (part + part.replace("name", "description")))[: 400 + end])
    value.close_loop()
    assert value.complete is (400 + end >= 4 * len(part + part.replace("name", "description")))


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


def test_a_loop_without_the_rest_is_retried_with_the_constraint() -> None:
    """What a value lacks that was ended here is no sign that the engine ignores constraints."""
    schema = {**SCHEMA, "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    schema["required"] = ["a", "b"]
    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    model = FakeModel('{"a": "' + LOOP, '{"a": "cat", "b": "dog"}', features=features)
    chat = UrialChat(model, load_prompt("short"))
    [reply] = chat.reply(
        [
            chat.request(
                [Message("user", "Who?")],
                GenerationParameters(),
                response_format=JsonSchema.of(schema),
            )
        ]
    )
    assert (reply.text, reply.end.validation_error) == ('{"a": "cat", "b": "dog"}', "")
    assert [request.constraint is not None for request in model.requests] == [True, True]
