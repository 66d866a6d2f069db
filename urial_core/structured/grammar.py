"""Translate JSON schemas into llguidance grammars for constrained decoding.

A schema is rewritten into an equivalent one that llguidance supports: a ``format`` that it does not
know is left out, as JSON Schema allows; so is ``uniqueItems: false``; and ``oneOf`` of different
literals becomes ``anyOf``. llguidance is optional, and imported when it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_schema import NAMED, SUBSCHEMAS, map_subschemas

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

__all__ = ["check_schema", "grammar_of", "lark_grammar_of"]

_STYLE: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
_FORMATS = frozenset(
    ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid")
)
"""The formats that llguidance enforces."""
_SHARED = ("$defs", "definitions")
"""Keywords that hold the schemas to which others refer."""


def check_schema(schema: JsonSchema) -> None:
    """Raise unless a schema can be enforced.

    Raises:
        UnsupportedSchemaError: It cannot be enforced; the message says what and where.
    """
    plain = _plain(schema)
    problem = _problem(plain)
    if problem is not None:
        shared = {name: plain[name] for name in _SHARED if name in plain}
        place, problem = _placed(plain, "#", problem, shared)
        raise UnsupportedSchemaError(
            f"The model cannot be constrained to this JSON schema: at {place}, {problem}. "
            "Change the schema there, or validate the value afterwards."
        )


def grammar_of(schema: JsonSchema) -> str:
    """Return llguidance's grammar of a schema, in the whitespace that ``JsonSchema`` promises."""
    from llguidance import LLMatcher

    return str(LLMatcher.grammar_from_json_schema(json.dumps(_plain(schema)), overrides=_STYLE))


def lark_grammar_of(schema: JsonSchema) -> str:
    """Return the same grammar in the notation of a llama.cpp that was built with llguidance."""
    return f"%llguidance {{}}\nstart: %json {json.dumps({**_plain(schema), 'x-guidance': _STYLE})}"


def _problem(schema: Any) -> str | None:
    """Return what llguidance cannot enforce of a schema, in a shortened form of its message."""
    from llguidance import LLMatcher

    if not isinstance(schema, dict):
        return None
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_STYLE)
    _, problems = LLMatcher.validate_grammar_with_warnings(grammar)
    if not problems:
        return None
    problem = problems[0]
    if problem.startswith("Unimplemented keys: "):
        keys = json.loads(problem.partition(": ")[2])
        return f"{', '.join(map(repr, keys))} cannot be enforced"
    if problem.startswith("oneOf "):
        return "the branches of oneOf may overlap (use anyOf, or give each its own literal)"
    if problem.startswith("regex parse error"):
        reason = problem.rpartition("error: ")[2].splitlines()[0]
        return f"the pattern {schema.get('pattern')!r}: {reason}"
    return problem.splitlines()[0]


def _placed(schema: Any, place: str, problem: str, shared: dict[str, Any]) -> tuple[str, str]:
    """Return the innermost place of a problem, and the problem as it is there."""
    for name, child in _children(schema):
        alone = {**shared, **child} if isinstance(child, dict) else child
        found = _problem(alone)
        if found is not None and not found.startswith("Pointer "):  # a reference to elsewhere
            return _placed(child, f"{place}/{name}", found, shared)
    return place, problem


def _children(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield the schemas within a schema with their places; first those that others refer to."""
    parts = schema.items() if isinstance(schema, dict) else ()
    for key, value in sorted(parts, key=lambda part: part[0] not in _SHARED):
        if key in NAMED and isinstance(value, dict):
            yield from ((f"{key}/{name}", child) for name, child in value.items())
        elif key in SUBSCHEMAS and isinstance(value, list):
            yield from ((f"{key}/{index}", child) for index, child in enumerate(value))
        elif key in SUBSCHEMAS:
            yield key, value


def _plain(schema: JsonSchema) -> dict[str, Any]:
    try:
        loaded = json.loads(schema.text)
    except ValueError as error:
        raise UnsupportedSchemaError(f"The JSON schema is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise UnsupportedSchemaError(f"The JSON schema is {schema.text!r}: pass an object.")
    return dict(_rewritten(loaded))


def _rewritten(schema: Any) -> Any:
    """Return an equivalent schema that llguidance supports."""
    if not isinstance(schema, dict):
        return schema
    new = map_subschemas(schema, _rewritten)
    if new.get("format") not in _FORMATS:
        new.pop("format", None)
    if new.get("uniqueItems") is False:
        del new["uniqueItems"]
    if "anyOf" not in new and _all_different(new.get("oneOf")):
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
