"""Which JSON schemas can be enforced, and which are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from urial_core.backends.transformers import TransformersModel
from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.formats import FORMAT_PATTERNS
from urial_core.structured.grammar import GrammarSchema, check_schema, grammar_schema

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
LOOSENED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "unique items": ({"type": "array", "uniqueItems": True}, {"type": "array"}),
    "not": ({"anyOf": [STRING, {"not": {}}]}, {"anyOf": [STRING, {}]}),
    "condition": ({"items": {"if": {}, "then": {}}}, {"items": {}}),
    "in a definition": (
        {"type": "array", "items": {"$ref": "#/$defs/b"}, "$defs": {"b": {"contains": {}}}},
        {"type": "array", "items": {"$ref": "#/$defs/b"}, "$defs": {"b": {}}},
    ),
    "overlapping branches": (
        {"oneOf": [STRING, {"type": "string", "minLength": 3}]},
        {"anyOf": [STRING, {"type": "string", "minLength": 3}]},
    ),
    "equal literals": ({"oneOf": [{"const": 1}, {"const": 1}]}, {"anyOf": [{"const": 1}] * 2}),
    "names of properties": ({"propertyNames": {"pattern": "^a"}}, {}),
    "look-around": (
        {"type": "string", "pattern": r"^(?=.*[)\)])(a(?!b(c))|\bd)$"},
        {"type": "string", "pattern": "^(a|d)$"},
    ),
    "back-reference": ({"type": "string", "pattern": r"(a)\1"}, STRING),
    "look-around in a key": ({"patternProperties": {"^(?!x)": STRING}}, {}),
    "part of a whole": ({"allOf": [STRING, {"not": {}}]}, {"allOf": [STRING, {}]}),
    "web address": (
        {"type": "string", "format": "uri"},
        {"type": "string", "pattern": FORMAT_PATTERNS["uri"]},
    ),
}
"""Schemas, and what a grammar enforces of them."""
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing definition": ({"$ref": "#/$defs/b"}, "#", "'/\\$defs/b' does not exist"),
    "another document": ({"$ref": "https://example.com/a"}, "#", "https://example.com/a"),
    "nothing matches": ({"enum": []}, "#", "empty"),
    "no such type": ({"prefixItems": [{"type": "text"}]}, "#/prefixItems/0", "text"),
    "contradiction": (
        {"uniqueItems": True, "items": {"type": "integer"}, "type": "array", "minItems": 2}
        | {"maxItems": 1},
        "#",
        "minItems",
    ),
}


@pytest.mark.parametrize("name", ENFORCED)
def test_enforced(name: str) -> None:
    """``features`` reports these as enforced, without loading a model."""
    assert TransformersModel("no/such-model").features.enforces(JsonSchema.of(ENFORCED[name]))


@pytest.mark.parametrize("name", ENFORCED)
def test_enforced_as_a_whole(name: str) -> None:
    """What matches the grammar's schema matches these, so they are streamed."""
    assert grammar_schema(JsonSchema.of(ENFORCED[name])).exact


@pytest.mark.parametrize("name", LOOSENED)
def test_loosened(name: str) -> None:
    """What a grammar cannot express is dropped, and nothing else; the schema is not refused."""
    schema, looser = LOOSENED[name]
    assert grammar_schema(JsonSchema.of(schema)) == GrammarSchema(JsonSchema.of(looser), False)
    assert TransformersModel("no/such-model").features.enforces(JsonSchema.of(schema))


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """A schema that no value can match is refused; the message names the innermost place."""
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
