"""Which JSON schemas can be enforced, and which are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from urial_core.backends.transformers import TransformersModel
from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import check_schema

STRING = {"type": "string"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
ENFORCED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "recursion": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "draft 7 definitions": {"definitions": {"a": STRING}, "$ref": "#/definitions/a"},
    "draft 7 tuples": {"type": "array", "items": [STRING, {"type": "null"}]},
    "several types": {"type": ["string", "null"]},
    "literals": {"enum": [1, "a", None, {"b": [1]}]},
    "any of": {"anyOf": [STRING, {"type": "string", "minLength": 3}]},
    "one of different types": {"oneOf": [STRING, {"type": "integer"}]},
    "one of different literals": {"oneOf": [{"const": 1}, {"enum": [2, "a", True]}]},
    "bounds": {"type": "number", "exclusiveMinimum": 1, "maximum": 7, "multipleOf": 0.5},
    "lengths": {"type": "string", "minLength": 1, "maxLength": 5},
    "counts": {"type": "array", "items": STRING, "minItems": 1, "maxItems": 2},
    "pattern": {"type": "string", "pattern": r"^\d{4}$"},
    "format": {"type": "string", "format": "date-time"},
    "unknown format": {"type": "string", "format": "password"},
    "patterns of keys": {"type": "object", "patternProperties": {"^x": STRING}},
    "all of": {"allOf": [{"properties": {"a": STRING}}, {"properties": {"b": STRING}}]},
    "remarks": {"title": "t", "description": "d", "default": 1, "examples": [1], "x-own": True},
    "a property named as a keyword": {"type": "object", "properties": {"not": STRING}},
    "repeats allowed": {"type": "array", "uniqueItems": False},
}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unique items": ({"type": "array", "uniqueItems": True}, "#", "'uniqueItems'"),
    "not": (
        {"properties": {"a": {"anyOf": [STRING, {"not": {}}]}}},
        "#/properties/a/anyOf/1",
        "'not'",
    ),
    "condition": ({"items": {"if": {}, "then": {}}}, "#/items", "'if', 'then'"),
    "in a definition": (
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"contains": {}}}},
        "#/$defs/b",
        "'contains'",
    ),
    "overlapping branches": ({"oneOf": [STRING, {"type": "string", "minLength": 3}]}, "#", "oneOf"),
    "equal literals": ({"oneOf": [{"const": 1}, {"const": 1}]}, "#", "oneOf"),
    "look-around": (
        {"type": "array", "items": {"type": "string", "pattern": "(?=a)"}},
        "#/items",
        r"'\(\?=a\)': look-around",
    ),
    "missing definition": ({"$ref": "#/$defs/b"}, "#", "'/\\$defs/b' does not exist"),
    "another document": ({"$ref": "https://example.com/a"}, "#", "https://example.com/a"),
    "nothing matches": ({"enum": []}, "#", "empty"),
    "no such type": ({"prefixItems": [{"type": "text"}]}, "#/prefixItems/0", "text"),
}


@pytest.mark.parametrize("name", ENFORCED)
def test_enforced(name: str) -> None:
    """``features`` reports these as enforced, without loading a model."""
    assert TransformersModel("no/such-model").features.enforces(JsonSchema.of(ENFORCED[name]))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A schema that cannot be enforced is refused; the message names the innermost place."""
    schema, place, what = REFUSED[name]
    with pytest.raises(UnsupportedSchemaError, match=what) as caught:
        check_schema(JsonSchema.of(schema))
    assert f" at {place}, " in str(caught.value)


@pytest.mark.parametrize("text", ["{", "true", "[]"])
def test_a_text_that_is_not_a_schema(text: str) -> None:
    """A schema that is not a JSON object is refused."""
    with pytest.raises(UnsupportedSchemaError):
        check_schema(JsonSchema(text))


def test_without_llguidance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llguidance, schemas are reported as not enforced, without an error."""
    from urial_core.backends.transformers import model

    monkeypatch.setattr(model, "find_spec", lambda name: None if name == "llguidance" else True)
    assert not TransformersModel("no/such-model").features.enforces(JsonSchema.of(STRING))
