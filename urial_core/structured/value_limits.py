"""Limits of constrained values, so that a weak model ends them.

Within a grammar, a base model may write the digits of a number, the characters of a string or the
items of a list without end. The schema's own bounds take precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from urial_core.structured.json_schema import map_subschemas

__all__ = ["DEFAULT_LIMITS", "ValueLimits", "limit_values"]

_LEFT_ALONE = ("allOf", "not", "if", "then", "else", "contains", "propertyNames")
"""Keywords whose schemas describe only a part of a value, or what it must not be."""
_MAX_DIGITS = 18
"""Digits that fit the 64 bits in which engines compute bounds."""


@dataclass(frozen=True, slots=True)
class ValueLimits:
    """How long the values of a JSON text may get where its schema does not say.

    Attributes:
        string_length: Characters of a string.
        items: Items of an array, and entries of an object that is used as a dictionary.
        digits: Digits of an integer, or before a number's decimal point.
    """

    string_length: int = 4000
    items: int = 100
    digits: int = _MAX_DIGITS - 1

    @property
    def for_grammar(self) -> ValueLimits:
        """What a grammar lets through: one more, so that a value that was cut exceeds a limit."""
        return ValueLimits(self.string_length + 1, self.items + 1, self.digits + 1)


DEFAULT_LIMITS = ValueLimits()
"""The limits where none are set: a long text of one reply, a long list, nearly a 64-bit number."""


def limit_values(schema: Any, limits: ValueLimits) -> Any:
    """Return a schema whose strings, arrays, dictionaries and numbers have bounds."""
    if not isinstance(schema, Mapping):
        return schema
    limited = map_subschemas(schema, lambda child: limit_values(child, limits))
    limited |= {key: schema[key] for key in _LEFT_ALONE if key in schema}
    if "enum" in schema or "const" in schema:
        return limited
    types = schema.get("type", ())
    for kind in [types] if isinstance(types, str) else types:
        if kind == "string":
            _bound(limited, "maxLength", limits.string_length, schema.get("minLength", 0))
        elif kind == "array":
            least = max(schema.get("minItems", 0), len(schema.get("prefixItems", ())))
            _bound(limited, "maxItems", limits.items, least)
        elif kind == "object" and schema.get("additionalProperties", True) is not False:
            if "properties" not in schema:
                _bound(limited, "maxProperties", limits.items, schema.get("minProperties", 0))
        elif kind in ("integer", "number"):
            _bound_number(limited, _greatest(limits.digits, kind))
    return limited


def _greatest(digits: int, kind: str) -> int:
    """Return the greatest number of so many digits, or one that engines can compare with.

    They compute bounds as 64-bit floats, which hold all powers of ten here, but not all that are
    one less: rounded up, such a bound would let through what it forbids.
    """
    power: int = 10**digits
    is_exact = int(float(power - 1)) == power - 1
    return power - 1 if kind == "integer" and is_exact else power


def _bound(schema: dict[str, Any], keyword: str, limit: int, least: int) -> None:
    schema.setdefault(keyword, max(limit, least))


def _bound_number(schema: dict[str, Any], most: int) -> None:
    """Bound a number on both sides, unless the schema's own bound lies beyond."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if high is None and (low is None or low < most):
        schema["maximum"] = most
    if low is None and (high is None or high > -most):
        schema["minimum"] = -most
