"""Keywords of JSON schema that jsonschema reads otherwise than is needed here.

- Patterns, in linear time where they are regular: Python's engine backtracks, and a model's text of
  30 characters can keep ``(a+)+$`` busy for minutes.
- ``multipleOf``, by the digits as they are written: 19.99 is a multiple of 0.01.
- ``propertyNames`` that are no strings: pydantic writes so of the keys of a ``dict[IntEnum, str]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["KEYWORDS", "is_readable"]


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


KEYWORDS = {
    "additionalProperties": _additional_properties,
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "propertyNames": _property_names,
}
"""These keywords for ``jsonschema.validators.extend``."""
