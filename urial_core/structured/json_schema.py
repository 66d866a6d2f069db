"""JSON schemas: how they are shown to a model, and whether a value fits one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from urial_core.errors import UnsupportedSchemaError

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["check_schema", "compact", "fitted", "forbid_additional_properties"]

_NAMES_OF_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_KINDS: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    dict: ("object",),
    list: ("array",),
}
_BRANCHES = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref")
_SAYS = {"additionalProperties", "patternProperties", "unevaluatedProperties"}
_VALUES = ("enum", "const", "default", "examples", "required")


def compact(schema: Any) -> str:
    """A schema as one line of JSON, without the titles that generators put in."""
    return json.dumps(_without_titles(schema), ensure_ascii=False)


def forbid_additional_properties(schema: Any) -> Any:
    """A schema whose objects hold what they declare and nothing else, where it does not say.

    JSON schema lets an object hold anything besides; a model that is held to that alone makes
    members up. Parts of an ``allOf`` describe one object together, so a schema with such is left.
    """
    return schema if _has_parts(schema) else _forbidding(schema)


def check_schema(schema: str) -> None:
    """See to it that values can be held against a schema, given as JSON text.

    Raises:
        UnsupportedSchemaError: It is no JSON schema.
    """
    _validator(schema)


def fitted(value: Any, schema: str, *, retype: bool = True) -> tuple[Any, str]:
    """Fit a value to a schema, given as JSON text.

    Args:
        value: The value.
        schema: The schema.
        retype: Whether to put right what is only written in another type, such as ``"3"`` where a
            whole number must stand.

    Returns:
        The value, and what is wrong with it; nothing if it fits.
    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    validator, fitting = _validator(schema), deepcopy(value)
    try:
        for error in validator.iter_errors(value) if retype else ():
            if error.validator == "type":
                fitting = _retyped(fitting, error)
        wrong = best_match(validator.iter_errors(fitting))
    except Unresolvable as error:
        raise UnsupportedSchemaError(
            f"The schema refers to {error.ref!r}, which is not in it."
        ) from error
    if wrong is None:
        return fitting, ""
    place = ".".join(map(str, wrong.absolute_path))
    return value, f"{place}: {wrong.message}" if place else wrong.message


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    try:
        loaded = json.loads(schema)
        kind = validator_for(loaded, default=Draft202012Validator)
        kind.check_schema(loaded)
    except ValueError as error:
        raise UnsupportedSchemaError(f"The schema is not JSON: {error}.") from error
    except SchemaError as error:
        raise UnsupportedSchemaError(f"The schema is not valid: {error.message}.") from error
    return kind(loaded, registry=Registry())  # an empty one: nothing is fetched


def _retyped(value: Any, error: ValidationError) -> Any:
    """The value with one part of another type, if that loses nothing."""
    wanted = error.validator_value
    for kind in wanted if isinstance(wanted, list) else [wanted]:
        part = _as(error.instance, kind)
        if part is not None:
            return _replaced(value, list(error.absolute_path), part)
    return value


def _as(value: Any, kind: str) -> Any:
    """The value as another type of JSON; None if it has none there."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "string" and (number or isinstance(value, bool)):
        return json.dumps(value)
    if not isinstance(value, str):
        return None
    try:
        loaded = json.loads(value)
    except ValueError:
        return {"true": True, "false": False}.get(value.lower()) if kind == "boolean" else None
    if isinstance(loaded, float) and kind == "integer" and loaded.is_integer():
        return int(loaded)
    return loaded if kind in _KINDS.get(type(loaded), ()) else None


def _replaced(value: Any, path: list[str | int], part: Any) -> Any:
    if not path:
        return part
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = part
    return value


def _has_parts(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_has_parts, schema))
    if not isinstance(schema, Mapping):
        return False
    parts = schema.get("allOf")
    return (isinstance(parts, list) and len(parts) > 1) or any(map(_has_parts, schema.values()))


def _forbidding(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_forbidding(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = _with_inner_schemas(schema, _forbidding)
    if "properties" not in schema:
        return inner
    # Branches describe the object together with what stands here, and know nothing of it.
    branches = {key: schema[key] for key in _BRANCHES if key in schema}
    says = (
        branches
        or _SAYS & set(schema)
        or set(schema.get("required", ())) - set(schema["properties"])
    )
    return {**inner, **branches} if says else {**inner, "additionalProperties": False}


def _with_inner_schemas(schema: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A schema with those within it changed, and its values as they are."""
    changed = {}
    for key, value in schema.items():
        if key in _VALUES:
            changed[key] = value
        elif key in _NAMES_OF_SCHEMAS and isinstance(value, Mapping):
            changed[key] = {name: change(inner) for name, inner in value.items()}
        else:
            changed[key] = change(value)
    return changed


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    named = {key: value for key, value in schema.items() if not _is_title(key, value)}
    return _with_inner_schemas(named, _without_titles)


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)
