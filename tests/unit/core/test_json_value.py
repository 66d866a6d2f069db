"""Following a JSON value: its end and an object's members, however the text is split."""

from __future__ import annotations

import json
from typing import Any

import pytest
from adversarial import cut, many, sizes
from hypothesis import given
from hypothesis import strategies as st

from urial_core.structured.json_scanner import JsonValue

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
containers = st.one_of(
    st.lists(values, max_size=3), st.dictionaries(st.text(max_size=4), values), st.text(max_size=8)
)
indents = st.sampled_from([None, 0, 2])


@many
@given(containers, indents, st.text(max_size=6), sizes)
def test_it_ends_where_the_value_ends(
    value: object, indent: int | None, after: str, lengths: list[int]
) -> None:
    """The value's text is followed to its end and no further, for any split."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    reader = JsonValue()
    rest = "".join(reader.feed(piece) for piece in cut(f" {text}{after}", lengths))
    assert reader.complete
    assert reader.text == text
    assert rest == after


@many
@given(st.dictionaries(st.text(max_size=4), values), indents, sizes)
def test_members_are_found(value: dict[str, Any], indent: int | None, lengths: list[int]) -> None:
    """Each member of the outermost object is found where its value stands."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    reader = JsonValue()
    for piece in cut(text, lengths):
        reader.feed(piece)
    found = {
        json.loads(f'"{name}"'): json.loads(reader.text[start:end])
        for name, (start, end) in reader.members.items()
    }
    assert found == value


@many
@given(st.text(max_size=20), sizes)
def test_any_text_is_taken(text: str, lengths: list[int]) -> None:
    """What is no JSON does no harm, and how it is split makes no difference."""
    whole, split = JsonValue(), JsonValue()
    whole.feed(text)
    for piece in cut(text, lengths):
        split.feed(piece)
    assert (whole.text, whole.complete, whole.members) == (
        split.text,
        split.complete,
        split.members,
    )


@pytest.mark.parametrize("text", ["12", "true", "null", "-1.5e3", '{"a": 1', '"a\\"', "[[]"])
def test_it_is_open(text: str) -> None:
    """A number, a word or an unfinished value has no end yet."""
    reader = JsonValue()
    reader.feed(text)
    assert not reader.complete
