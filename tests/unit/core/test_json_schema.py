"""JSON schemas: compact text, additional properties forbidden, validation and repair."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from urial_core import ParameterError, Tool, UnsupportedSchemaError
from urial_core.decoding.tool_calls import call_schema
from urial_core.structured.json_schema import compact, forbid_additional_properties
from urial_core.structured.json_validation import check_schema, match_schema, validate_json

A: dict[str, Any] = {"a": {"type": "integer"}}
B: dict[str, Any] = {"b": {"type": "integer"}}
OBJECT: dict[str, Any] = {"type": "object", "properties": A}
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("kind", "value", "repaired"),
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
def test_another_type_is_repaired(kind: str | list[str], value: object, repaired: object) -> None:
    """A value that is written in another type is converted, at any depth."""
    schema = {"properties": {"list": {"items": {"properties": {"n": {"type": kind}}}}}}
    matched, error = match_schema({"list": [{"n": value}]}, json.dumps(schema))
    assert matched == {"list": [{"n": repaired}]}
    assert type(matched["list"][0]["n"]) is type(repaired)
    assert error == ""


TEXTS = {"type": "array", "items": {"type": "string"}}


def variant(kind: str, amount: str) -> dict[str, Any]:
    """Return the schema of one kind of object, as of a union with a discriminator."""
    properties = {"kind": {"const": kind}, "amount": {"type": amount}}
    return {"type": "object", "properties": properties, "required": list(properties)}


def pair(kind: str) -> dict[str, Any]:
    """Return two properties of one type."""
    return {"a": {"type": kind}, "b": {"type": kind}}


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@pytest.mark.parametrize(
    ("branches", "value", "repaired"),
    [
        ([{"type": "integer"}, {"type": "null"}], "3", 3),
        ([{"type": "null"}, {"type": "integer", "minimum": 1}], "3", 3),
        ([TEXTS, {"type": "null"}], [1, "b", True], ["1", "b", "true"]),
        ([{"anyOf": [TEXTS, {"type": "boolean"}]}, {"type": "null"}], [1], ["1"]),
        ([{"$ref": "#/$defs/count"}, {"type": "null"}], "3", 3),
        ([{"type": "boolean"}, {"type": "integer"}], "true", True),
        ([TEXTS, {"type": "array", "items": {"type": "boolean"}}], [1], ["1"]),
        (
            [variant("count", "integer"), variant("name", "string")],
            {"kind": "name", "amount": 3},
            {"kind": "name", "amount": "3"},
        ),
        (
            [{"properties": {"a": {"type": "integer"}}}, {"type": "null"}],
            {"a": "1", "b": "2"},
            {"a": 1, "b": 2},
        ),
    ],
)
def test_another_type_is_repaired_in_a_branch(
    keyword: str, branches: list[Any], value: Any, repaired: Any
) -> None:
    """A value is converted to the one schema of several that it can match so, at any depth."""
    schema = {
        "$defs": {"count": {"type": "integer"}},
        "properties": {"n": {keyword: branches, "properties": {"b": {"type": "integer"}}}},
    }
    assert match_schema({"n": value}, json.dumps(schema)) == ({"n": repaired}, "")


@pytest.mark.parametrize(
    ("branches", "value"),
    [
        ([{"type": "integer"}, {"type": "null"}], "three"),
        ([{"type": "integer", "minimum": 5}, {"type": "null"}], "3"),
        ([{"properties": pair("integer")}, {"properties": pair("string")}], {"a": "1", "b": 2}),
        ([TEXTS, {"type": "array", "items": {"type": "object"}}], [None]),
        ([{"type": "string"}, {"type": "array"}, {"type": "null"}], {"a": 1}),
        ([variant("x", "integer"), variant("x", "boolean")], {"kind": "x"}),
    ],
)
def test_no_branch_is_guessed(branches: list[Any], value: Any) -> None:
    """Where no conversion helps, or two would, the value is invalid, unchanged."""
    schema = json.dumps({"properties": {"n": {"anyOf": branches}}})
    matched, error = match_schema({"n": value}, schema)
    assert (matched, bool(error)) == ({"n": value}, True)


def test_several_branches_may_share_a_repair() -> None:
    """A conversion that suits all branches is made, as a pydantic model's of ``int | float``."""
    numbers = {"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}
    assert match_schema("3", json.dumps(numbers)) == (3, "")


@pytest.mark.parametrize(
    ("kind", "written", "matched"),
    [
        ("string", "3.10", '"3.10"'),
        ("string", "1e5", '"1e5"'),
        ("string", "12345678901234567890.5", '"12345678901234567890.5"'),
        ("number", '"19.990"', "19.99"),
        ("number", '"12345678901234567.5"', None),
        ("number", '"1e-99999999999999999999"', None),
    ],
)
def test_no_digits_are_lost(kind: str, written: str, matched: str | None) -> None:
    """A number becomes the text as it was written, and a text no number with fewer digits."""
    schema = json.dumps({"type": "object", "properties": {"n": {"type": kind}}})
    text, error = validate_json(f'{{"n": {written}}}', schema)
    assert text == f'{{"n": {matched or written}}}'
    assert bool(error) is (matched is None)


def test_a_boolean_in_a_union_is_no_text() -> None:
    """``false`` may stand for ``null``: the model is asked again."""
    nothing_or_text = json.dumps({"anyOf": [{"type": "string"}, {"type": "null"}]})
    assert match_schema(False, nothing_or_text)[1]
    assert match_schema(False, '{"type": "string"}') == ("false", "")


def test_a_repaired_text_keeps_the_digits_of_its_numbers() -> None:
    """What is written beside a repaired value stays as it was written."""
    schema = json.dumps({"properties": {"n": {"type": "integer"}}})
    text = '{"é": [12345678901234567.89, 1.50, null], "n": %s}'
    assert validate_json(text % '"3"', schema) == (text % 3, "")


@pytest.mark.parametrize(
    ("value", "step", "error"),
    [("19.99", 0.01, ""), ("0.3", 0.1, ""), ("1e300", 0.01, ""), ("6", 2, ""), ("0.35", 0.1, "no")],
)
def test_multiples_are_of_the_digits(value: str, step: float, error: str) -> None:
    """A price is a multiple of a cent, as pydantic reads it."""
    schema = json.dumps({"type": "number", "multipleOf": step})
    assert bool(validate_json(value, schema)[1]) is bool(error)


def test_names_are_the_keys_of_a_dict() -> None:
    """JSON's names are texts, and pydantic's schema of a ``dict[IntEnum, str]`` has numbers."""
    schema = {"propertyNames": {"enum": [1, 2], "type": "integer"}, "type": "object"}
    assert match_schema({"1": "x"}, json.dumps(schema)) == ({"1": "x"}, "")
    assert match_schema({"3": "x"}, json.dumps(schema))[1]
    assert match_schema({"a": "x"}, '{"propertyNames": {"pattern": "^a"}}') == ({"a": "x"}, "")
    member = json.dumps({"properties": {"propertyNames": {"type": "integer"}}})
    assert match_schema({"propertyNames": "3"}, member) == ({"propertyNames": 3}, "")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({}, "'n' is a required property"),
        ({"n": "three"}, "n: 'three' is not of type 'integer'"),
        ({"n": "2.5"}, "n: '2.5' is not of type 'integer'"),
        ({"n": "true"}, "n: 'true' is not of type 'integer'"),
        ({"n": None}, "n: None is not of type 'integer'"),
    ],
)
def test_a_mismatch_is_reported(value: dict[str, Any], error: str) -> None:
    """An invalid value is returned unchanged, with what is invalid and where."""
    assert match_schema(value, json.dumps(NUMBER)) == (value, error)


def test_the_given_value_is_not_modified() -> None:
    """Repairing a value does not modify the one that was given."""
    given = {"n": "3"}
    assert match_schema(given, json.dumps(NUMBER)) == ({"n": 3}, "")
    assert given == {"n": "3"}


@pytest.mark.parametrize("schema", ["{", '{"type": "strng"}', '{"required": "n"}'])
def test_an_invalid_schema_is_refused(schema: str) -> None:
    """A text that is not a valid JSON schema is refused, with the reason."""
    with pytest.raises(UnsupportedSchemaError, match="schema is not"):
        check_schema(schema)


def test_a_repaired_value_can_be_encoded() -> None:
    """Half a character, which JSON can hold escaped and UTF-8 cannot hold, stays escaped."""
    schema = '{"properties": {"n": {"type": "integer"}}}'
    written = r'{"n": "3", "text": "\u00e9 \ud83d\ude00 \ud83d"}'
    assert validate_json(written, schema) == (r'{"n": 3, "text": "é 😀 \ud83d"}', "")


def test_another_type_is_invalid_without_repair() -> None:
    """Without ``repair``, a value that is written in another type is invalid."""
    given = {"n": "3"}
    assert match_schema(given, json.dumps(NUMBER), repair=False) == (
        given,
        "n: '3' is not of type 'integer'",
    )


def test_remote_references_are_refused() -> None:
    """A reference outside the schema is refused, and nothing is fetched."""
    with pytest.raises(UnsupportedSchemaError, match=r"http://example\.com/s\.json"):
        match_schema({}, '{"$ref": "http://example.com/s.json"}')


def test_compact_leaves_out_titles() -> None:
    """``compact`` leaves out titles, but keeps properties and defaults of that name."""
    schema = {
        "title": "Book",
        "properties": {"title": {"title": "Title", "type": "string", "default": {"title": "x"}}},
        "anyOf": [{"title": "A", "type": "object"}],
    }
    expected = {
        "properties": {"title": {"type": "string", "default": {"title": "x"}}},
        "anyOf": [{"type": "object"}],
    }
    assert json.loads(compact(schema)) == expected


def test_definitions_of_tools_are_kept_apart() -> None:
    """The schema of calls resolves each tool's references, even to definitions of one name."""
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
    for schema in (call_schema(tools), call_schema(tools[::-1])):
        for name, place in (("go", "Rome"), ("jump", 3), ("go", [["Rome"]])):
            call = {"name": name, "arguments": {"place": place}}
            assert match_schema(call, schema.text) == (call, "")
    invalid = {"name": "go", "arguments": {"place": {}}}
    assert match_schema(invalid, call_schema(tools[:1]).text)[1]
    invalid = {"name": "hop", "arguments": {"place": "Rome"}}
    assert match_schema(invalid, call_schema(tools).text)[1]


@pytest.mark.parametrize(
    ("schema", "expected"),
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
def test_additional_properties_are_forbidden(
    schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Additional properties are forbidden in every object, unless the schema decides otherwise."""
    assert forbid_additional_properties(schema) == expected


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        (OBJECT, {"a": 1, "b": 2}, False),
        ({"type": "object", "properties": {}}, {"b": 2}, False),
        ({"anyOf": [OBJECT, {"type": "null"}]}, {"a": 1, "b": 2}, False),
        ({"type": "array", "items": OBJECT}, [{"a": 1, "b": 2}], False),
        ({"$defs": {"x": OBJECT}, "$ref": "#/$defs/x"}, {"a": 1, "b": 2}, False),
        ({"type": "object"}, {"b": 2}, True),
        ({**OBJECT, "additionalProperties": True}, {"a": 1, "b": 2}, True),
        ({**OBJECT, "required": ["b"]}, {"a": 1, "b": 2}, True),
        ({**OBJECT, "anyOf": [{"properties": B, "required": ["b"]}]}, {"a": 1, "b": 2}, True),
        ({"allOf": [OBJECT, {"properties": B}]}, {"a": 1, "b": 2}, True),
    ],
)
def test_undeclared_properties_are_invalid(
    schema: dict[str, Any], value: Any, *, valid: bool
) -> None:
    """Properties that no part of the schema declares become invalid, and no others."""
    assert Draft202012Validator(schema).is_valid(value)
    assert Draft202012Validator(forbid_additional_properties(schema)).is_valid(value) is valid


DEFS: dict[str, Any] = {
    "O": OBJECT,
    "S": {"type": "string"},
    "R": {"anyOf": [{"$ref": "#/$defs/R"}, {"$ref": "#/$defs/S"}]},
}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["object", "null"]},
        {"$ref": "#/$defs/O"},
        {"$ref": "#"},
        {"$ref": "https://elsewhere.org/schema"},
        {"allOf": [{"$ref": "#/$defs/O"}, {"required": ["a"]}]},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/O"}]},
        {"enum": ["a", {"a": 1}]},
    ],
)
def test_parameters_may_be_any_schema_of_an_object(schema: dict[str, Any]) -> None:
    """A tool's parameters need no properties of their own: references and branches are kept."""
    given = {**schema, "$defs": DEFS}
    assert Tool.of("f", "", given).schema == given


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}},
        {"type": ["string", "null"]},
        {"enum": ["red", "blue"]},
        {"const": None},
        {"$ref": "#/$defs/S"},
        {"allOf": [OBJECT, {"$ref": "#/$defs/S"}]},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/S"}]},
        {"oneOf": [{"type": "null"}, False]},
    ],
)
def test_parameters_that_are_no_object_are_refused(schema: dict[str, Any]) -> None:
    """Arguments are an object: a tool that no object can be passed to is an error."""
    with pytest.raises(ParameterError, match="No object matches the parameters of the tool 'f'"):
        Tool.of("f", "", {**schema, "$defs": DEFS})
