"""Keywords of JSON schema that jsonschema reads otherwise than is needed here.

- Patterns, in linear time where they are regular: Python's engine backtracks, and a model's text of
  30 characters can keep ``(a+)+$`` busy for minutes.
- ``multipleOf``, by the digits as they are written: 19.99 is a multiple of 0.01.
- ``type``: a decimal may be a text where a float would lose digits, as pydantic reads it.
- ``propertyNames`` that are no strings: pydantic writes so of the keys of a ``dict[IntEnum, str]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from pydantic_core import SchemaError, SchemaValidator, core_schema

from urial_core.structured.json_text import Number, load_json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["is_readable", "keywords_of"]

_Keyword = Callable[[Any, Any, Any, Any], Any]
"""Yields the errors of a value, given the validator, the keyword's value, it and the schema."""


def is_readable(pattern: str) -> bool:
    """Return whether strings can be matched against a pattern."""
    try:
        _matcher(pattern)
    except re.error:
        return False
    return True


@lru_cache(256)
def _matcher(pattern: str) -> Callable[[str], object]:
    try:
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        return SchemaValidator(schema).isinstance_python
    except SchemaError:  # it looks around or refers back, which needs backtracking
        return re.compile(pattern).search


def _pattern(validator: Any, pattern: str, value: Any, _: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(value, "string") and not _matcher(pattern)(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], value: Any, _: Any
) -> Iterator[Any]:
    for pattern, schema in patterns.items() if validator.is_type(value, "object") else ():
        for name, member in value.items():
            if _matcher(pattern)(name):
                yield from validator.descend(member, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: Any, value: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not validator.is_type(value, "object"):
        return
    matchers = [_matcher(pattern) for pattern in schema.get("patternProperties", {})]
    names = [name for name in value if name not in schema.get("properties", {})]
    further = [name for name in names if not any(matches(name) for matches in matchers)]
    if validator.is_type(additional, "object"):
        for name in further:
            yield from validator.descend(value[name], additional, path=name)
    elif further and not additional:
        shown = ", ".join(map(repr, further))
        yield ValidationError(f"Additional properties are not allowed: {shown}")


def _property_names(validator: Any, names: Any, value: Any, _: Any) -> Iterator[Any]:
    for name in value if validator.is_type(value, "object") else ():
        errors = list(validator.descend(name, names))
        if errors and not validator.evolve(schema=names).is_valid(_scalar(name)):
            yield from errors


def _scalar(name: str) -> Any:
    """Return the number or the like that a property's name is the text of; else the name."""
    try:
        read = json.loads(name)
    except (ValueError, RecursionError):
        return name
    return name if isinstance(read, (dict, list)) else read


def _multiple_of(validator: Any, divisor: float, value: Any, _: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if validator.is_type(value, "number") and Fraction(repr(value)) % Fraction(repr(divisor)):
        yield ValidationError(f"{value!r} is not a multiple of {divisor!r}")


def _type(
    of_draft: _Keyword, validator: Any, types: Any, value: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    if schema.get("format") != "decimal" or not _is_long_number(value):
        yield from of_draft(validator, types, value, schema)


def _is_long_number(value: Any) -> bool:
    """Return whether this is the text of a number that has more digits than a float."""
    if not isinstance(value, str):
        return False
    try:
        loaded = load_json(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(loaded, Number) and not loaded.keeps_digits


def keywords_of(draft: type[Validator]) -> dict[str, _Keyword]:
    """Return these keywords of a draft's validator, for ``jsonschema.validators.extend``."""
    return {
        "additionalProperties": _additional_properties,
        "multipleOf": _multiple_of,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "propertyNames": _property_names,
        "type": partial(_type, draft.VALIDATORS["type"]),
    }
