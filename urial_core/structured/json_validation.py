"""Validate JSON against a schema, and repair what is only written differently."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.formats import format_checker
from urial_core.structured.json_schema import map_subschemas
from urial_core.structured.json_text import Number, dump_json, load_json
from urial_core.structured.keywords import KEYWORDS, is_readable

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["check_schema", "match_schema", "validate_json"]

_KINDS: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    dict: ("object",),
    list: ("array",),
}
"""The types of JSON schema that a Python value has."""
_Repair = tuple[list[str | int], Any]
"""Where a part of a value is, and what takes its place."""
_MAX_SHOWN = 300
"""Characters of an error's message: the model is shown it too."""


def check_schema(schema: str) -> None:
    """Raise if values cannot be validated against a schema, given as JSON text.

    Raises:
        UnsupportedSchemaError: It is not a valid JSON schema, or refers to what is not in it.
    """
    _validator(schema)


def match_schema(value: Any, schema: str, *, repair: bool = True) -> tuple[Any, str]:
    """Validate a value against a schema.

    Args:
        value: The value.
        schema: The schema, as JSON text.
        repair: Whether to convert what is only written in another type, such as ``"3"`` for an
            integer.

    Returns:
        The value, and what is wrong with it; empty if it matches.
    """
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    validator = _validator(schema)
    try:
        repaired = deepcopy(value)
        for error in validator.iter_errors(value) if repair else ():
            for place, part in _repairs(value, error) or ():
                repaired = _replaced(repaired, place, part)
        mismatch = best_match(validator.iter_errors(repaired))
    except Unresolvable as error:
        raise UnsupportedSchemaError(
            f"The schema refers to {error.ref!r}, which is not in it."
        ) from error
    except RecursionError:
        return value, "It is nested too deeply, or its schema refers to itself alone."
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, re.error) as error:
        raise UnsupportedSchemaError(
            f"No value can be validated against the schema: {error}."
        ) from error
    if mismatch is None:
        return repaired, ""
    path, message = ".".join(map(str, mismatch.absolute_path)), mismatch.message
    if len(message) > _MAX_SHOWN:
        message = f"{message[: _MAX_SHOWN // 2]} ... {message[-_MAX_SHOWN // 2 :]}"
    return value, f"{path}: {message}" if path else message


def validate_json(text: str, schema: str, *, repair: bool = True) -> tuple[str, str]:
    """Validate a JSON text against a schema.

    Args:
        text: The text.
        schema: The schema, as JSON text.
        repair: Whether to repair what is only written differently: numbers as strings, line breaks
            in strings. Not where the text was emitted already.

    Returns:
        The value as JSON text, and what is wrong with it; empty if it matches.
    """
    try:
        loaded = load_json(text, strict=not repair)
    except ValueError as error:
        return text, f"This is not JSON: {error}."
    except RecursionError:
        return text, "It is nested too deeply."
    value, mismatch = match_schema(loaded, schema, repair=repair)
    if value == loaded and type(value) is type(loaded) and (not repair or _is_strict_json(text)):
        return text, mismatch
    return dump_json(value), mismatch


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    from jsonschema import FormatChecker, SchemaError, validators
    from jsonschema.validators import Draft4Validator, Draft202012Validator, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        loaded = json.loads(schema)
        kind = validator_for(loaded, default=Draft202012Validator)
        any_format = FormatChecker(formats=())  # Python cannot read every pattern
        if _has_boolean_bounds(loaded):
            kind = Draft4Validator
        kind.check_schema(loaded, format_checker=any_format)
        _check_patterns(loaded)
    except ValueError as error:
        raise UnsupportedSchemaError(f"The schema is not JSON: {error}.") from error
    except SchemaError as error:
        raise UnsupportedSchemaError(f"The schema is not valid: {error.message}.") from error
    except (
        TypeError,
        AttributeError,
        LookupError,
        RecursionError,
        re.error,
        Unresolvable,
    ) as error:
        raise UnsupportedSchemaError(f"The schema is not valid: {error!r}.") from error
    return validators.extend(kind, KEYWORDS)(
        loaded,
        registry=Registry(),  # an empty one: nothing is fetched
        format_checker=format_checker(),
    )


def _has_boolean_bounds(schema: Any) -> bool:
    """Return whether a schema, or one within it, has the boolean bounds of draft 4."""
    if not isinstance(schema, dict):
        return False
    bounds = (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))
    found = any(isinstance(bound, bool) for bound in bounds)

    def look(child: Any) -> Any:
        nonlocal found
        found = found or _has_boolean_bounds(child)
        return child

    map_subschemas(schema, look)
    return found


def _check_patterns(schema: Any) -> Any:
    """Raise if a pattern of a schema cannot be read; return the schema."""
    if not isinstance(schema, dict):
        return schema
    named = schema.get("patternProperties")
    for pattern in (schema.get("pattern", ""), *(named if isinstance(named, dict) else ())):
        if not is_readable(pattern):
            raise UnsupportedSchemaError(
                f"The schema's pattern {pattern!r} is no regular expression: write it differently."
            )
    return map_subschemas(schema, _check_patterns)


def _repairs(value: Any, error: ValidationError) -> list[_Repair] | None:
    """Return the conversions of a value's parts that may remove an error; None without any.

    Where none of several schemas matches, one is meant if conversions may remove all of its errors.
    If several may be meant, nothing is converted, unless it is the same for all.
    """
    path = list(error.absolute_path)
    if error.validator in ("anyOf", "oneOf"):
        if isinstance(error.instance, bool):
            return None  # "false" may stand for null
        branches = dict[Any, list[list[_Repair] | None]]()
        for inner in error.context:
            branches.setdefault(inner.relative_schema_path[0], []).append(_repairs(value, inner))
        meant = [
            [repair for repairs in found for repair in repairs or ()]
            for found in branches.values()
            if None not in found
        ]
        return meant[0] if meant and all(found == meant[0] for found in meant) else None
    # An error in ``propertyNames`` is a name's, and its path is the object's.
    if error.validator != "type" or _part(value, path) is not error.instance:
        return None
    wanted = error.validator_value
    for kind in wanted if isinstance(wanted, list) else [wanted]:
        if (part := _converted(error.instance, kind)) is not None:
            return [(path, part)]
    return None


def _converted(value: Any, kind: str) -> Any:
    """Return the value as another type of JSON; None if it has no equivalent there."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "string" and (number or isinstance(value, bool)):
        return value.written if isinstance(value, Number) else json.dumps(value)
    if not isinstance(value, str):
        return None
    try:
        loaded = load_json(value)
    except (ValueError, RecursionError):
        return {"true": True, "false": False}.get(value.lower()) if kind == "boolean" else None
    if isinstance(loaded, Number):
        if not loaded.keeps_digits:
            return None
        loaded = int(loaded) if kind == "integer" and loaded.is_integer() else float(loaded)
    return loaded if kind in _KINDS.get(type(loaded), ()) else None


def _replaced(value: Any, path: list[str | int], part: Any) -> Any:
    if not path:
        return part
    _part(value, path[:-1])[path[-1]] = part
    return value


def _part(value: Any, path: Iterable[str | int]) -> Any:
    for key in path:
        value = value[key]
    return value


def _is_strict_json(text: str) -> bool:
    """Return whether a text is JSON to the letter, with no control characters in its strings."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
