"""JSON schemas: how they are shown to a model, and whether a value fits one."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["compact"]

_NAMES_OF_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")


def compact(schema: Any) -> str:
    """A schema as one line of JSON, without the titles that generators put in."""
    return json.dumps(_without_titles(schema), ensure_ascii=False)


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_titles(inner) for name, inner in value.items()}
        if key in _NAMES_OF_SCHEMAS and isinstance(value, dict)
        else value
        if key in ("enum", "const", "default", "examples", "required")
        else _without_titles(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
