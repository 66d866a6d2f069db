"""JsonValue: the end of a JSON value and an object's members, for any split of the text."""

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
def test_the_end_of_a_value_is_found(
    value: object, indent: int | None, after: str, lengths: list[int]
) -> None:
    """The scanner takes the value's text up to its end and returns the rest, for any split."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    scanner = JsonValue()
    rest = "".join(scanner.feed(piece) for piece in cut(f" {text}{after}", lengths))
    assert scanner.complete
    assert scanner.text == text
    assert rest == after


@many
@given(st.dictionaries(st.text(max_size=4), values), indents, sizes)
def test_members_are_found(value: dict[str, Any], indent: int | None, lengths: list[int]) -> None:
    """The scanner reports where the value of each member of the outermost object is."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    scanner = JsonValue()
    for piece in cut(text, lengths):
        scanner.feed(piece)
    found = {
        json.loads(f'"{name}"'): json.loads(scanner.text[start:end])
        for name, (start, end) in scanner.members.items()
    }
    assert found == value


@many
@given(st.text(max_size=20), sizes)
def test_any_text_is_accepted(text: str, lengths: list[int]) -> None:
    """Text that is not JSON is accepted, and how it is split makes no difference."""
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
def test_an_incomplete_value(text: str) -> None:
    """A number, a keyword or an unfinished value is not complete yet."""
    scanner = JsonValue()
    scanner.feed(text)
    assert not scanner.complete
