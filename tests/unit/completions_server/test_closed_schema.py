"""Schemas whose objects have the properties that were named, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from urial_core.backends.completions_server.closed_schema import closed

NUMBER = {"type": "integer"}
OBJECT = {"type": "object", "properties": {"a": NUMBER}}
CLOSED = {**OBJECT, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (OBJECT, CLOSED),
        (
            {"properties": {"b": OBJECT}},
            {"properties": {"b": CLOSED}, "additionalProperties": False},
        ),
        ({"items": OBJECT}, {"items": CLOSED}),
        ({"anyOf": [OBJECT, NUMBER]}, {"anyOf": [CLOSED, NUMBER]}),
        (
            {"$defs": {"x": OBJECT}, "$ref": "#/$defs/x"},
            {"$defs": {"x": CLOSED}, "$ref": "#/$defs/x"},
        ),
    ],
)
def test_objects_are_closed_wherever_they_stand(schema: Any, expected: Any) -> None:
    """Each object with named properties forbids others; the rest of the schema stays."""
    assert closed(schema) == expected
    assert list(closed(OBJECT)) == [*OBJECT, "additionalProperties"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": NUMBER},
        {**OBJECT, "additionalProperties": True},
        {**OBJECT, "patternProperties": {"^x": NUMBER}},
        {**OBJECT, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"allOf": [OBJECT, {"properties": {"b": NUMBER}}]},
        {"properties": {"deep": {"allOf": [OBJECT]}}},
        {"enum": [{"properties": {"a": 1}}], "const": {"properties": {}}},
    ],
)
def test_where_others_may_be_meant_nothing_is_forbidden(schema: Any) -> None:
    """A schema that speaks of other properties, or whose parts add up, is left alone."""
    assert closed(schema) == schema
