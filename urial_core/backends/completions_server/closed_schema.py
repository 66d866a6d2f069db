"""Closed schemas: objects with the properties that a schema names, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["closed"]

_BY_NAME = ("properties", "$defs", "definitions")
_INNER = ("items", "prefixItems", "anyOf", "oneOf")
_SAYS_MORE = {
    *("additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames"),
    *("anyOf", "oneOf", "not", "if", "dependentSchemas", "$ref", "$dynamicRef"),
}
"""Keywords beside which other properties may be meant."""


def closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Forbid properties that a schema neither names nor mentions.

    JSON Schema allows them, and a small model that is allowed to will go on inventing them. vLLM's
    grammars forbid them by themselves. A schema with ``allOf``, whose parts add up, stays as it is.
    """
    return schema if _holds_all_of(schema) else _closed(schema)


def _holds_all_of(part: Any) -> bool:
    if isinstance(part, Mapping):
        return "allOf" in part or any(map(_holds_all_of, part.values()))
    return isinstance(part, list) and any(map(_holds_all_of, part))


def _closed(part: Any) -> Any:
    if isinstance(part, list):
        return [_closed(item) for item in part]
    if not isinstance(part, Mapping):
        return part
    out = dict(part)
    for key in _BY_NAME:
        if isinstance(part.get(key), Mapping):
            out[key] = {name: _closed(inner) for name, inner in part[key].items()}
    for key in _INNER:
        if key in part:
            out[key] = _closed(part[key])
    if isinstance(part.get("properties"), Mapping) and not _SAYS_MORE & part.keys():
        out["additionalProperties"] = False
    return out
