"""Match a schema's patterns in linear time, where they are regular.

Python's engine backtracks: a model's text of 30 characters can keep ``(a+)+$`` busy for minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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


KEYWORDS = {"pattern": _pattern, "patternProperties": _pattern_properties}
"""These keywords for ``jsonschema.validators.extend``."""
