"""Schemas that a grammar expresses in part: loosened, bounded, and validated as they were given."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from adversarial import many
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from urial_core import (
    GenerationParameters,
    Message,
    Reply,
    ReplyEnd,
    TextDelta,
    Tool,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.completion import ModelFeatures
from urial_core.decoding.tool_calls import call_schema, parse_call
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import grammar_of, grammar_schema
from urial_core.structured.json_validation import match_schema, validate_json
from urial_core.structured.value_limits import DEFAULT_LIMITS, ValueLimits, limit_values
from urial_core.testing import FakeModel
from urial_core.tools import InvalidToolCall

PROMPT = load_prompt("default")
ENFORCING = ModelFeatures(enforces_choices=True, enforces_json=True)
TAGS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
GO = Tool.of("go", "", {"type": "object", "properties": {"n": {"type": "integer"}}})
TAG = Tool.of("tag", "", {"type": "object", "properties": {"tags": TAGS}, "required": ["tags"]})


def replied(*texts: str, schema: dict[str, Any], **parameters: Any) -> tuple[Reply, FakeModel]:
    """Return the reply of a model that enforces what a grammar expresses, and the model."""
    model = FakeModel(*texts, features=ENFORCING)
    chat = UrialChat(model, PROMPT)
    request = chat.request(
        [Message("user", "Which?")],
        GenerationParameters(**parameters),
        response_format=JsonSchema.of(schema),
    )
    [reply] = chat.reply([request])
    return reply, model


def test_what_the_grammar_lets_through_is_retried_under_the_grammar() -> None:
    """A value that matches the grammar only is retried with feedback, constrained again."""
    reply, model = replied('["a", "a"]', '["a", "b"]', schema=TAGS)
    assert (reply.text, reply.end.validation_error) == ('["a", "b"]', "")
    grammar = grammar_schema(JsonSchema.of(TAGS), DEFAULT_LIMITS).schema
    assert [request.constraint for request in model.requests] == [grammar, grammar]
    assert "has non-unique elements" in model.requests[1].prompt


def test_what_stays_invalid_is_reported() -> None:
    """The second invalid value is the reply, and its end says what is wrong."""
    reply, _ = replied('["a", "a"]', '["b", "b"]', schema=TAGS)
    assert reply.text == '["b", "b"]'
    assert "non-unique" in reply.end.validation_error


def test_a_value_that_may_be_retried_is_not_emitted_before() -> None:
    """What a grammar enforces in part is streamed once it is valid."""
    model = FakeModel(['["a"', ', "a"]'], ['["a"', ', "b"]'], features=ENFORCING)
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "?")], response_format=JsonSchema.of(TAGS))
    *deltas, end = chat.stream(request)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == '["a", "b"]'
    assert isinstance(end, ReplyEnd)
    assert end.validation_error == ""


def test_a_tool_with_such_a_schema_leaves_the_others_as_they_are() -> None:
    """Only its own part of the grammar is loosened; the other tool's calls still stream."""
    [tag, go] = call_schema((TAG, GO)).schema["anyOf"]
    assert "uniqueItems" not in tag["properties"]["arguments"]["properties"]["tags"]
    assert go == call_schema((GO,)).schema
    for name, arguments, streams in (("go", '{"n": 1}', True), ("tag", '{"tags": ["a"]}', False)):
        pieces = [f'{{"name": "{name}", "arguments": ', arguments[:4], arguments[4:], "}"]
        chat = UrialChat(FakeModel(pieces, "", features=ENFORCING), PROMPT)
        use = ToolUse((TAG, GO), "required", parallel=False)
        *deltas, end = chat.stream(chat.request([Message("user", "?")], tools=use))
        assert len(deltas) == (2 if streams else 1)
        assert isinstance(end, ReplyEnd)
        assert end.invalid_tool_calls == ()


def test_a_schema_that_refers_to_itself_is_kept_apart_from_other_tools() -> None:
    """References to the root, or to any place in it, mean the tool's own schema."""
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    for tools in ((GO, Tool.of("grow", "", tree)), (Tool.of("grow", "", tree),)):
        schema = call_schema(tools)
        assert grammar_schema(schema).exact
        call = {"name": "grow", "arguments": {"kids": [{"kids": []}]}}
        assert match_schema(call, schema.text) == (call, "")
        assert match_schema({"name": "grow", "arguments": {"kids": [call]}}, schema.text)[1]


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"type": "string", "format": "uuid4"}, "e5b6d8a0-6f2a-4c1e-9d55-0c8f2a9b7e11", True),
        ({"type": "string", "format": "uuid4"}, "e5b6d8a0-6f2a-1c1e-9d55-0c8f2a9b7e11", False),
        ({"type": "string", "format": "uri"}, "https://example.com/a?b#c", True),
        ({"type": "string", "format": "uri"}, "example", False),
        ({"type": "string", "format": "ipvanyaddress"}, "::1", True),
        ({"type": "string", "format": "ipvanyaddress"}, "1.2.3.400", False),
        ({"type": "string", "format": "duration"}, "P3DT4H", True),
        ({"type": "string", "format": "duration"}, "3 days or so", False),
        ({"type": "string", "format": "base64"}, "aGk=", True),
        ({"type": "string", "format": "base64"}, "aGk", False),
        ({"type": "string", "format": "date-time"}, "2024-02-30T00:00:00Z", False),
        ({"type": "string", "format": "password"}, "anything", True),
        ({"type": "string", "pattern": r"^\p{L}+$"}, "größe", True),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 3, False),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 4, True),
        ({"type": ["object", "null"]}, None, True),
    ],
)
def test_values_are_validated_as_the_schema_says(
    schema: dict[str, Any], value: Any, *, valid: bool
) -> None:
    """Formats are asserted where they can be; draft 4 and foreign patterns are no errors."""
    assert (match_schema(value, json.dumps(schema))[1] == "") is valid


@pytest.mark.parametrize(
    ("schema", "expected", "exact"),
    [
        (
            {"type": "number", "maximum": math.inf, "minimum": 3},
            {"type": "number", "minimum": 3},
            True,
        ),
        ({"type": "number", "exclusiveMinimum": -math.inf}, {"type": "number"}, True),
        ({"type": "number", "minimum": math.nan}, {"type": "number"}, False),
        ({"enum": [4, math.nan]}, {}, False),
        ({"type": "number", "maximum": 10**400}, {"type": "number"}, False),
    ],
)
def test_infinite_bounds_bound_nothing(
    schema: dict[str, Any], expected: dict[str, Any], exact: bool
) -> None:
    """Pydantic writes ``le=math.inf`` so, which is no JSON; what else is no JSON is loosened."""
    found = grammar_schema(JsonSchema.of(schema))
    assert (found.schema.schema, found.exact) == (expected, exact)
    reply, _ = replied("4", schema=schema)
    assert (reply.text, reply.end.validation_error) == ("4", "")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"'])
def test_numbers_are_finite(number: str) -> None:
    """What is no number in JSON passes neither in a reply nor in a call."""
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    assert validate_json(f'{{"n": {number}}}', json.dumps(schema))[1]
    text = f'{{"name": "go", "arguments": {{"n": {number}}}}}'
    assert isinstance(parse_call(text, [Tool.of("go", "", schema)], "x"), InvalidToolCall)


@pytest.mark.parametrize("arguments", ["[1]", "3", "null", '"here"'])
@pytest.mark.parametrize("name", ["go", "fly"])
def test_arguments_that_are_no_object_are_never_run(name: str, arguments: str) -> None:
    """Such a call is invalid, and the frameworks are given none to try."""
    call = parse_call(f'{{"name": "{name}", "arguments": {arguments}}}', [GO], "x")
    assert isinstance(call, InvalidToolCall)
    assert call.attempt is None
    assert json.loads(call.text) == json.loads(arguments)


BOUNDED: list[tuple[dict[str, Any], Any, Any]] = [
    ({"type": "string"}, "abc", "abcd"),
    ({"type": "array", "items": {"type": "boolean"}}, [True] * 2, [True] * 3),
    ({"type": "object", "additionalProperties": {}}, {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}),
    ({"type": "integer"}, -99, -100),
    ({"type": ["number", "null"]}, 99.25, 100.5),
    ({"type": "integer", "minimum": 500}, 1000, None),
    ({"type": "string", "maxLength": 6}, "abcdef", None),
    ({"type": "array", "minItems": 4}, [1] * 4, None),
    ({"enum": ["a long one"]}, "a long one", None),
    ({"not": {"type": "string"}}, ["x"], None),
]


@pytest.mark.parametrize(("schema", "fits", "exceeds"), BOUNDED)
def test_limits(schema: dict[str, Any], fits: Any, exceeds: Any) -> None:
    """Values are bounded where their schema sets no bound."""
    validator = Draft202012Validator(limit_values(schema, ValueLimits(3, 2, 2)))
    assert validator.is_valid(fits)
    assert exceeds is None or not validator.is_valid(exceeds)


def test_a_value_that_reached_a_limit_is_invalid() -> None:
    """A grammar ends a string at a limit: that it was cut is reported, and retried before."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    reply, model = replied(
        '{"name": "abcd"}', '{"name": "abc"}', schema=schema, max_string_length=3
    )
    assert (reply.text, reply.end.validation_error) == ('{"name": "abc"}', "")
    [first, _] = model.requests
    assert isinstance(first.constraint, JsonSchema)
    assert first.constraint.schema["properties"]["name"]["maxLength"] == 4
    reply, _ = replied('{"name": "abcd"}', '{"name": "efgh"}', schema=schema, max_string_length=3)
    assert reply.end.validation_error == "name: 'efgh' is too long"


def test_a_call_that_reached_a_limit_is_never_run() -> None:
    """A text that was cut, though valid by the tool's schema, makes an invalid call."""
    tool = Tool.of("write", "", {"type": "object", "properties": {"content": {"type": "string"}}})
    text = '{"name": "write", "arguments": {"content": "abcd"}}'
    call = parse_call(text, [tool], "x", ValueLimits(string_length=3))
    assert isinstance(call, InvalidToolCall)
    assert call.attempt is None
    assert "'abcd' is too long" in call.error
    assert not isinstance(parse_call(text, [tool], "x"), InvalidToolCall)


@pytest.mark.needs("llguidance")
@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("digits", range(1, 18))
def test_a_grammar_lets_through_what_its_schema_does(kind: str, digits: int) -> None:
    """A bound means the same to the grammar, which computes in floats, and to the validator."""
    from llguidance import LLMatcher, LLTokenizer

    schema = grammar_schema(JsonSchema.of({"type": kind}), ValueLimits(digits=digits)).schema
    matcher = LLMatcher(LLTokenizer("byte"), grammar_of(schema))
    accepted = set[int]()
    for text in (sign + whole for sign in ("", "-") for whole in ("9" * 19, "1" + "0" * 19)):
        for length in range(1, 20):
            value = text[: length + text.startswith("-")]
            matcher.reset()
            tokens = list(value.encode())
            if matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting():
                accepted.add(length)
                assert validate_json(value, schema.text)[1] == ""
    assert max(accepted) > digits


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", "b1"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "xy"]), children, max_size=2)
    ),
    max_leaves=5,
)
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "integer", "array", "object", ["array", "null"]]),
    "uniqueItems": st.booleans(),
    "pattern": st.sampled_from(
        [r"^(?!b)\w+$", r"a\b", r"(a)\1", "^a+$", r"[(](?=b)", "(a|(?=x)b)"]
    ),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "minItems": st.integers(0, 2),
    "maxLength": st.integers(0, 3),
    "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
    "dependentRequired": st.just({"a": ["b"]}),
    "maxProperties": st.integers(0, 2),
    "format": st.sampled_from(["uri", "uuid4", "email", "regex", "made-up"]),
}
SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.fixed_dictionaries({}, optional=KEYWORDS),
    lambda children: st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("items", "not", "if", "then", "contains"), children),
            **{name: st.lists(children, min_size=1, max_size=2) for name in ("oneOf", "allOf")},
            "propertyNames": children,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), children, max_size=2),
            "patternProperties": st.dictionaries(st.just("^(?!b)."), children, max_size=1),
            **KEYWORDS,
        },
    ),
    max_leaves=4,
)


def test_a_part_that_no_value_matches_need_not_be_used() -> None:
    """Beside names that the grammar cannot express, an array without items still matches."""
    parts = {"patternProperties": {"^(?!b).": {}}, "items": {"type": "string", "enum": [None]}}
    found = grammar_schema(JsonSchema.of(parts))
    assert match_schema([], found.schema.text)[1] == ""
    assert not found.exact


@given(SCHEMAS, VALUES)
@many
def test_loosening_refuses_no_value(schema: dict[str, Any], value: Any) -> None:
    """Whatever matches a schema matches what the grammar enforces, additional properties apart."""
    whole = JsonSchema.of(schema)
    if match_schema(value, whole.with_additional_properties_forbidden().text, repair=False)[1]:
        return
    assert match_schema(value, grammar_schema(whole).schema.text, repair=False)[1] == ""
