"""JSON schemas: shown without titles, and values fitted to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from urial_core import Tool, UnsupportedSchemaError
from urial_core.decoding.tool_calls import call_schema
from urial_core.structured.json_schema import (
    compact,
    forbid_additional_properties,
)
from urial_core.structured.json_validation import check_schema, match_schema

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("integer", "3", 3),
        ("integer", "3.0", 3),
        ("integer", "-12", -12),
        ("number", "2.5", 2.5),
        ("boolean", "true", True),
        ("boolean", "False", False),
        ("string", 3, "3"),
        ("string", True, "true"),
        ("array", "[1, 2]", [1, 2]),
        ("object", '{"a": 1}', {"a": 1}),
        (["integer", "null"], "3", 3),
    ],
)
def test_another_type_is_put_right(kind: str | list[str], written: object, meant: object) -> None:
    """A value that is only written in another type is put right, also deep within."""
    schema = {"properties": {"list": {"items": {"properties": {"n": {"type": kind}}}}}}
    value, wrong = match_schema({"list": [{"n": written}]}, json.dumps(schema))
    assert value == {"list": [{"n": meant}]}
    assert type(value["list"][0]["n"]) is type(meant)
    assert wrong == ""


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "'n' is a required property"),
        ({"n": "three"}, "n: 'three' is not of type 'integer'"),
        ({"n": "2.5"}, "n: '2.5' is not of type 'integer'"),
        ({"n": "true"}, "n: 'true' is not of type 'integer'"),
        ({"n": None}, "n: None is not of type 'integer'"),
    ],
)
def test_what_does_not_fit_is_told(value: dict[str, Any], problem: str) -> None:
    """A value that does not fit comes back unchanged, with what is wrong and where."""
    assert match_schema(value, json.dumps(NUMBER)) == (value, problem)


def test_the_value_given_is_not_changed() -> None:
    """Putting a value right leaves the one that was given alone."""
    given = {"n": "3"}
    assert match_schema(given, json.dumps(NUMBER)) == ({"n": 3}, "")
    assert given == {"n": "3"}


@pytest.mark.parametrize("schema", ["{", '{"type": "strng"}', '{"required": "n"}'])
def test_no_schema(schema: str) -> None:
    """What is no JSON schema is refused, with the reason."""
    with pytest.raises(UnsupportedSchemaError, match="schema is not"):
        check_schema(schema)


def test_another_type_stands_where_it_was_given_out() -> None:
    """Without ``retype``, a value that is only written in another type does not fit."""
    given = {"n": "3"}
    assert match_schema(given, json.dumps(NUMBER), repair=False) == (
        given,
        "n: '3' is not of type 'integer'",
    )


def test_nothing_is_fetched() -> None:
    """A reference to another place is refused; nothing is asked for there."""
    with pytest.raises(UnsupportedSchemaError, match=r"http://example\.com/s\.json"):
        match_schema({}, '{"$ref": "http://example.com/s.json"}')


def test_titles_are_left_out() -> None:
    """Titles of schemas are left out, a property or a default of that name is not."""
    schema = {
        "title": "Book",
        "properties": {"title": {"title": "Title", "type": "string", "default": {"title": "x"}}},
        "anyOf": [{"title": "A", "type": "object"}],
    }
    shown = {
        "properties": {"title": {"type": "string", "default": {"title": "x"}}},
        "anyOf": [{"type": "object"}],
    }
    assert json.loads(compact(schema)) == shown


def test_definitions_stay_in_reach() -> None:
    """In the form of a call, what each tool's schema refers to is found, also under one name."""
    tools = tuple(
        Tool.of(
            name,
            "",
            {
                "properties": {"place": {"$ref": "#/$defs/Place"}},
                "$defs": {
                    "Place": {
                        "anyOf": [
                            {"type": kind},
                            {"type": "array", "items": {"$ref": "#/$defs/Place"}},
                        ]
                    }
                },
            },
        )
        for name, kind in (("go", "string"), ("jump", "integer"))
    )
    for form in (call_schema(tools), call_schema(tools[::-1])):
        for name, place in (("go", "Rome"), ("jump", 3), ("go", [["Rome"]])):
            call = {"name": name, "arguments": {"place": place}}
            assert match_schema(call, form.text) == (call, "")
    wrong = {"name": "go", "arguments": {"place": True}}
    assert match_schema(wrong, call_schema(tools[:1]).text)[1]
    wrong = {"name": "hop", "arguments": {"place": "Rome"}}
    assert match_schema(wrong, call_schema(tools).text)[1]


@pytest.mark.parametrize(
    ("schema", "held"),
    [
        ({"type": "object"}, {"type": "object"}),
        ({"properties": {}}, {"properties": {}, "additionalProperties": False}),
        (
            {"properties": {"properties": {"properties": {}}}},
            {
                "properties": {"properties": {"properties": {}, "additionalProperties": False}},
                "additionalProperties": False,
            },
        ),
        (
            {"properties": {}, "additionalProperties": True},
            {"properties": {}, "additionalProperties": True},
        ),
        (
            {"anyOf": [{"items": {"properties": {}}}], "default": {"properties": {}}},
            {
                "anyOf": [{"items": {"properties": {}, "additionalProperties": False}}],
                "default": {"properties": {}},
            },
        ),
        (
            {"allOf": [{"properties": {}}, {"properties": {}}]},
            {"allOf": [{"properties": {}}, {"properties": {}}]},
        ),
    ],
)
def test_objects_are_closed(schema: dict[str, Any], held: dict[str, Any]) -> None:
    """Where a schema does not say otherwise, a model may add nothing that it does not declare."""
    assert forbid_additional_properties(schema) == held
