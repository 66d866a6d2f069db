"""Draw JSON schemas of all the kinds that can be enforced, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["schemas"]

Schema = dict[str, Any]
NAMES = ("name", "a", "größe", "名前", "with space", "b_2", 'quo"te')
PATTERNS = (r"^[a-z]{3}-\d{4}$", r"^a*b$", r"^\d*x$", r"^(red|green|blue)$", r"z", r"^.{12,}$")
FORMATS = ("date", "time", "date-time", "email", "uuid", "ipv4", "ipv6", "uri", "hostname")
LITERALS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-999, 10**6) | st.text(max_size=8)
)


@st.composite
def strings(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["plain", "bounded", "pattern", "format"]))
    if kind == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(PATTERNS))}
    if kind == "format":
        return {"type": "string", "format": draw(st.sampled_from(FORMATS))}
    if kind == "bounded":
        low = draw(st.integers(0, 30))
        return {"type": "string", "minLength": low, "maxLength": low + draw(st.integers(0, 10))}
    return {"type": "string"}


@st.composite
def numbers(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["integer", "number"]))
    if draw(st.booleans()):
        return {"type": kind}
    if draw(st.booleans()):
        return {"type": "integer", "multipleOf": draw(st.integers(2, 9)), "minimum": 1}
    low = draw(st.integers(-1000, 1000))
    return {"type": kind, "minimum": low, "maximum": low + draw(st.integers(1, 500))}


@st.composite
def objects(draw: st.DrawFn, children: st.SearchStrategy[Schema]) -> Schema:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    schema: Schema = {
        "type": "object",
        "properties": {name: draw(children) for name in names},
        "required": [name for name in names if draw(st.booleans())],
    }
    extra = draw(st.sampled_from([None, False, {"type": "integer"}]))
    return schema if extra is None else {**schema, "additionalProperties": extra}


@st.composite
def arrays(draw: st.DrawFn, children: st.SearchStrategy[Schema]) -> Schema:
    schema: Schema = {"type": "array", "items": draw(children)}
    if draw(st.booleans()):
        schema["prefixItems"] = [draw(children)]
    if draw(st.booleans()):
        schema["minItems"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema["maxItems"] = 3 + draw(st.integers(0, 2))
    return schema


def schemas() -> st.SearchStrategy[Schema]:
    """Draw a schema."""
    leaves = st.one_of(
        strings(),
        numbers(),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}]),
        st.lists(LITERALS, min_size=1, max_size=4, unique_by=repr).map(lambda v: {"enum": v}),
        LITERALS.map(lambda value: {"const": value}),
        st.just({"$ref": "#/$defs/tree"}),
    )
    nested = st.recursive(
        leaves,
        lambda children: st.one_of(
            objects(children),
            arrays(children),
            st.lists(children, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
        ),
        max_leaves=8,
    )
    return nested.map(lambda schema: {**schema, "$defs": {"tree": TREE}})


TREE: Schema = {
    "type": "object",
    "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        "parent": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
    },
    "required": ["value", "parent"],
    "additionalProperties": False,
}
"""A recursive schema."""
