"""Translate JSON schemas into llguidance grammars for constrained decoding.

``grammar_schema`` makes the schema that a grammar enforces of the one that values must match: what
the grammar cannot express is loosened, and values get limits. llguidance is optional, and imported
when it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_schema import NAMED, SUBSCHEMAS, map_subschemas
from urial_core.structured.rewriting import equivalent, loosened
from urial_core.structured.value_limits import ValueLimits, limit_values

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

__all__ = ["GrammarSchema", "check_schema", "grammar_of", "grammar_schema", "lark_grammar_of"]

_STYLE: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
_DECIMALS = 1e-9
"""The step of numbers: with fewer decimals, they end. It is the finest that llguidance takes."""
_INVALID = ("Unsatisfiable schema", "Pointer ", "Resource ", "Invalid type")
"""How llguidance's messages about schemas that no value matches begin; others are its limits."""
_SHARED = frozenset(("$defs", "definitions"))
"""Keywords that hold the schemas to which others refer."""


@dataclass(frozen=True, slots=True)
class GrammarSchema:
    """What a grammar enforces of a schema.

    Attributes:
        schema: The schema to enforce.
        exact: Whether each value that matches it also matches the schema that it was made of. A
            value that does not hold to that is retried, so it cannot be emitted while it is
            written.
    """

    schema: JsonSchema
    exact: bool


@lru_cache(maxsize=256)
def grammar_schema(schema: JsonSchema, limits: ValueLimits | None = None) -> GrammarSchema:
    """Return what a grammar enforces of a schema; undeclared properties are forbidden.

    Args:
        schema: The schema that values must match.
        limits: How long values may get where the schema does not say; None for no limits.

    Raises:
        UnsupportedSchemaError: No value can match it.
    """
    loaded = _loaded(schema.with_additional_properties_forbidden())
    plain, exact = _enforceable(loaded)
    if limits is not None:
        limited = limit_values(plain, limits.for_grammar)
        plain = limited if _problem(limited) is None else plain
    return GrammarSchema(JsonSchema.of(plain), exact)


def check_schema(schema: JsonSchema) -> None:
    """Raise if no value can match a schema.

    Raises:
        UnsupportedSchemaError: It contradicts itself or refers to what is not in it; the message
            says what and where.
    """
    _enforceable(_loaded(schema))


def grammar_of(schema: JsonSchema) -> str:
    """Return llguidance's grammar of a schema, in the whitespace that ``JsonSchema`` promises."""
    from llguidance import LLMatcher

    return str(LLMatcher.grammar_from_json_schema(json.dumps(_plain(schema)), overrides=_STYLE))


def lark_grammar_of(schema: JsonSchema) -> str:
    """Return the same grammar in the notation of a llama.cpp that was built with llguidance."""
    return f"%llguidance {{}}\nstart: %json {json.dumps({**_plain(schema), 'x-guidance': _STYLE})}"


def _problem(schema: Any) -> str | None:
    """Return why a schema is no JSON, or what llguidance reports of it, on one line.

    None if there is nothing; without llguidance, nothing else is reported.
    """
    if not isinstance(schema, dict):
        return None
    try:
        text = json.dumps(schema, allow_nan=False)
        if find_spec("llguidance") is None:
            return None
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(text, overrides=_STYLE)
    except ValueError as error:  # of numbers that JSON lacks, or that are out of range
        return str(error)
    _, problems = LLMatcher.validate_grammar_with_warnings(grammar)
    return problems[0].splitlines()[0] if problems else None


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
    plain, _ = _enforceable(_loaded(schema))
    ending = _with_decimals(plain)
    return dict(ending if _problem(ending) is None else plain)


def _loaded(schema: JsonSchema) -> dict[str, Any]:
    try:
        loaded = json.loads(schema.text)
    except ValueError as error:
        raise UnsupportedSchemaError(f"The JSON schema is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise UnsupportedSchemaError(f"The JSON schema is {schema.text!r}: pass an object.")
    return loaded


def _enforceable(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a schema that a grammar can enforce, and whether it is not looser."""
    plain, exact = equivalent(schema)
    if find_spec("llguidance") is None:
        looser = _without_problems(loosened(plain), {})
        return looser, exact and looser == plain
    if _problem(plain) is None:
        return plain, exact
    plain = loosened(plain)
    if (problem := _problem(plain)) is not None:
        _refuse_if_invalid(plain, problem)
    blank: dict[str, Any] = {
        key: {name: {} for name in plain[key]} for key in _SHARED & plain.keys()
    }
    return _without_problems(plain, blank), False


def _refuse_if_invalid(schema: dict[str, Any], problem: str) -> None:
    """Raise if a problem of a whole schema is that no value matches; say where."""
    if not problem.startswith(_INVALID):
        return  # a part that no value matches need not be used, such as the items of an array
    shared = {name: schema[name] for name in _SHARED if name in schema}
    place, problem = _placed(schema, "#", problem, shared)
    only_forbids = "/patternProperties/" in place  # names that match, and nothing else
    if problem.startswith(_INVALID) and not only_forbids:
        raise UnsupportedSchemaError(
            f"No value can match this JSON schema: at {place}, {problem}. Change the schema there."
        )


def _without_problems(schema: Any, shared: dict[str, Any]) -> Any:
    """Return a schema without the keywords that llguidance reports, from the inside out."""
    if not isinstance(schema, dict) or _problem({**shared, **schema}) is None:
        return schema
    looser = map_subschemas(schema, lambda child: _without_problems(child, shared))
    for keyword in [key for key in looser if key not in ("type", *_SHARED)]:
        if _problem({**shared, **looser}) is None:
            return looser
        del looser[keyword]
    return looser if _problem({**shared, **looser}) is None else {}


def _with_decimals(schema: Any) -> Any:
    """Return a schema whose numbers have so few decimals that they end."""
    if not isinstance(schema, dict):
        return schema
    new = map_subschemas(schema, _with_decimals)
    types = new.get("type")
    if "number" in ([types] if isinstance(types, str) else types or ()):
        new.setdefault("multipleOf", _DECIMALS)
    return new
