"""Schemas whose objects hold what they declare: nothing else is made up, and nothing forbidden."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from urial_core.structured.json_schema import forbid_additional_properties

A: dict[str, Any] = {"a": {"type": "integer"}}
B: dict[str, Any] = {"b": {"type": "integer"}}
OBJECT: dict[str, Any] = {"type": "object", "properties": A}


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
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
def test_undeclared_members(schema: dict[str, Any], value: Any, *, fits: bool) -> None:
    """Members that no part of the schema speaks of are ruled out, and no others are."""
    assert Draft202012Validator(schema).is_valid(value)
    assert Draft202012Validator(forbid_additional_properties(schema)).is_valid(value) is fits
