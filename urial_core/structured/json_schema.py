"""JSON schemas as values: shown to a model, and with additional properties forbidden."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from urial_core.errors import UnsupportedSchemaError
from urial_core.prompts.escaping import encodable

__all__ = [
    "NAMED",
    "SUBSCHEMAS",
    "allows_objects",
    "common_type",
    "compact",
    "forbid_additional_properties",
    "map_subschemas",
    "schema_text",
]

NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Keywords that hold schemas by name."""
SUBSCHEMAS = (
    *("items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"),
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
)
"""Keywords that hold a schema or a list of them."""
_BRANCHES = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref")
_ABOUT_OTHERS = {"additionalProperties", "patternProperties", "unevaluatedProperties"}
"""Keywords by which a schema decides on additional properties itself."""
_OTHER_TYPES = ("array", "boolean", "integer", "null", "number", "string")


_MAX_DEPTH = 64
"""Objects and lists within each other that a schema may have: recursion must end somewhere."""


def schema_text(schema: Any) -> str:
    """Return a schema as JSON text.

    Raises:
        UnsupportedSchemaError: JSON cannot express it, or it is nested too deeply.
    """
    level, depth = [schema], 0
    while level and depth <= _MAX_DEPTH:
        parts = [part for part in level if isinstance(part, (Mapping, list, tuple))]
        level = [
            child
            for part in {id(part): part for part in parts}.values()
            for child in (part.values() if isinstance(part, Mapping) else part)
        ]
        depth += 1
    if level:
        raise UnsupportedSchemaError(
            f"The JSON schema has more than {_MAX_DEPTH} levels, or holds itself: move parts of it "
            "to $defs, and refer to them."
        )
    try:
        return encodable(json.dumps(schema, ensure_ascii=False))
    except (TypeError, ValueError) as error:
        raise UnsupportedSchemaError(
            f"The JSON schema cannot be written as JSON: {error}. Pass values that JSON has."
        ) from error


def allows_objects(schema: Mapping[str, Any]) -> bool:
    """Return whether an object may match a schema, by the types and literals that it names."""
    answers = dict[str, bool]()

    def allows(part: Any) -> bool:
        if not isinstance(part, Mapping):
            return part is not False
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in answers:
            answers[reference] = True  # until it is known: it may refer to itself
            answers[reference] = allows(_referenced(reference, schema))
        types = _listed(part.get("type"))
        literals = [*_listed(part.get("enum")), *([part["const"]] if "const" in part else [])]
        return (
            answers.get(str(reference), True)
            and not (types and all(kind in _OTHER_TYPES for kind in types))
            and not (literals and not any(isinstance(one, Mapping) for one in literals))
            and all(map(allows, _listed(part.get("allOf"))))
            and all(
                any(map(allows, branches))
                for branches in map(_listed, (part.get("anyOf"), part.get("oneOf")))
                if branches
            )
        )

    return allows(schema)


def common_type(schema: Mapping[str, Any]) -> str | None:
    """Return the type that all values of a schema have, as far as it names one; else None."""
    answers = dict[str, str | None]()

    def type_of(part: Any) -> str | None:
        if not isinstance(part, Mapping):
            return None
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in answers:
            answers[reference] = None  # until it is known: it may refer to itself
            answers[reference] = type_of(_referenced(reference, schema))
        found = [answers.get(str(reference)), *map(type_of, _listed(part.get("allOf")))]
        for branches in (part.get("anyOf"), part.get("oneOf")):
            types = {*map(type_of, _listed(branches))}
            found += types if len(types) == 1 else ()
        own = _listed(part.get("type"))
        return next(filter(None, (own if len(own) == 1 else found)), None)

    return type_of(schema)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _referenced(reference: str, root: Mapping[str, Any]) -> Any:
    """Return what a reference within a schema refers to; an empty schema if it is elsewhere."""
    target: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        target = target.get(name, {}) if isinstance(target, Mapping) else {}
    return target


def compact(schema: Any) -> str:
    """Return a schema as one line of JSON, without the titles that generators add."""
    return json.dumps(_without_titles(schema), ensure_ascii=False)


def forbid_additional_properties(schema: Any) -> Any:
    """Return a schema whose objects hold declared properties only, where it leaves that open.

    JSON schema allows additional properties by default, and a model that is constrained to that
    makes some up. Parts of an ``allOf`` describe one object together, so a schema with such is
    returned unchanged.
    """
    return schema if _has_parts(schema) else _forbidding(schema)


def _has_parts(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_has_parts, schema))
    if not isinstance(schema, Mapping):
        return False
    parts = schema.get("allOf")
    return (isinstance(parts, list) and len(parts) > 1) or any(map(_has_parts, schema.values()))


def _forbidding(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    changed = map_subschemas(schema, _forbidding)
    if "properties" not in schema:
        return changed
    # Branches describe the same object, and do not see the properties declared here.
    branches = {key: schema[key] for key in _BRANCHES if key in schema}
    required = schema.get("required")
    undeclared = [name for name in required or () if name not in schema["properties"]]
    if branches or undeclared or _ABOUT_OTHERS & set(schema):
        return {**changed, **branches}
    return {**changed, "additionalProperties": False}


def map_subschemas(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a schema with the schemas directly within it changed, and all else as it is."""
    changed = dict(schema)
    for key, value in schema.items():
        if key in NAMED and isinstance(value, Mapping):
            changed[key] = {name: change(child) for name, child in value.items()}
        elif key in SUBSCHEMAS:
            is_list = isinstance(value, list)
            changed[key] = [change(child) for child in value] if is_list else change(value)
    return changed


def _without_titles(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    changed = map_subschemas(schema, _without_titles)
    if isinstance(changed.get("title"), str):
        del changed["title"]
    return changed
