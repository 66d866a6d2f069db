"""Rewrite JSON schemas for a grammar: into equivalent ones, and into looser ones.

A grammar cannot express all of JSON schema. An equivalent schema is tried first; what is left is
dropped, and values are validated against the schema as it was given.
"""

from __future__ import annotations

import re
from math import inf
from typing import Any

from urial_core.structured.formats import ENFORCED_FORMATS, FORMAT_PATTERNS, format_checker
from urial_core.structured.json_schema import map_subschemas

__all__ = ["equivalent", "loosened"]

_NOT_ENFORCED = frozenset(
    (
        *("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"),
        *("propertyNames", "dependentRequired", "dependentSchemas", "dependencies"),
        *("unevaluatedProperties", "not", "if", "then", "else"),
        *("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"),
    )
)
"""Keywords that no grammar enforces."""
_NO_BOUNDS = (
    *(("maximum", inf), ("exclusiveMaximum", inf)),
    *(("minimum", -inf), ("exclusiveMinimum", -inf)),
)
_ASSERTION = re.compile(r"\(\?<?[=!]|\\[bB]")
_UNSUPPORTED = re.compile(r"\(\?(?!:)|\\[AzZ1-9kG]")
"""What engines' regular expressions lack: flags and named groups too, whose notations differ."""


def equivalent(schema: Any) -> tuple[Any, bool]:
    """Return an equivalent schema in what grammars support, and whether it is not looser.

    A ``format`` that grammars do not know becomes a pattern or is left out; so is
    ``uniqueItems: false``; ``oneOf`` of different literals, or with a discriminator, becomes
    ``anyOf``; draft 4's boolean bounds become numbers; infinite bounds, such as pydantic's
    ``le=math.inf``, are left out.
    """
    exact = True

    def rewritten(schema: Any) -> Any:
        nonlocal exact
        if not isinstance(schema, dict):
            return schema
        new = map_subschemas(schema, rewritten)
        new = {key: value for key, value in new.items() if (key, value) not in _NO_BOUNDS}
        written = new.get("format")
        if written not in ENFORCED_FORMATS:
            new.pop("format", None)
            if written in FORMAT_PATTERNS and "pattern" not in new:
                new["pattern"] = FORMAT_PATTERNS[written]
                exact &= written != "uri"
            else:
                exact &= written not in format_checker().checkers
        if new.get("uniqueItems") is False:
            del new["uniqueItems"]
        if "anyOf" not in new and (_all_different(new.get("oneOf")) or "discriminator" in new):
            new |= {"anyOf": new.pop("oneOf")} if "oneOf" in new else {}
        for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(new.get(exclusive), bool) and new.pop(exclusive) and bound in new:
                new[exclusive] = new.pop(bound)
        return new

    return rewritten(schema), exact


def loosened(schema: Any) -> Any:
    """Return a schema without what grammars cannot enforce: all that matched it still matches."""
    if not isinstance(schema, dict):
        return schema
    new = {key: value for key, value in schema.items() if key not in _NOT_ENFORCED}
    new = map_subschemas(new, loosened)
    if isinstance(pattern := new.get("pattern"), str):
        del new["pattern"]
        if (looser := _without_assertions(pattern)) is not None:
            new["pattern"] = looser
    if "anyOf" not in new and "oneOf" in new:
        new["anyOf"] = new.pop("oneOf")
    return new


def _all_different(branches: Any) -> bool:
    """Return whether branches are literals, no two of them equal."""
    if not isinstance(branches, list):
        return False
    values = list[Any]()
    for branch in branches:
        if not isinstance(branch, dict) or not ("const" in branch or "enum" in branch):
            return False
        values += branch["enum"] if "enum" in branch else [branch["const"]]
    if not all(isinstance(value, str | bool | int | None) for value in values):
        return False
    return len({(type(value), value) for value in values}) == len(values)


def _without_assertions(pattern: str) -> str | None:
    """Return a pattern without look-around and word boundaries; None if more is unsupported."""
    kept, at = "", 0
    while at < len(pattern):
        end = _element_end(pattern, at)
        if not (assertion := _ASSERTION.match(pattern, at)):
            # A group's parts may hold assertions too: only its opening is taken at once.
            end = at + 1 if pattern[at] == "(" else end
            kept += pattern[at:end]
        elif assertion[0].startswith("\\"):
            end = assertion.end()
        at = end
    return None if _UNSUPPORTED.search(kept) else kept


def _element_end(pattern: str, at: int) -> int:
    """Return where the character, escape, class or group that starts here ends."""
    if pattern[at] == "\\":
        return at + 2
    if pattern[at] == "[":
        end = at + 1 + (pattern[at + 1 : at + 2] == "^")
        end += pattern[end : end + 1] == "]"
        while end < len(pattern) and pattern[end] != "]":
            end += 1 + (pattern[end] == "\\")
        return end + 1
    if pattern[at] != "(":
        return at + 1
    end = at + 1
    while end < len(pattern) and pattern[end] != ")":
        end = _element_end(pattern, end)
    return end + 1
