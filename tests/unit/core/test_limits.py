"""Input that is huge, deep or adversarial: a typed error or an answer, in linear time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
from growth import is_linear

from urial_core.errors import ParameterError, PromptError, UnsupportedSchemaError
from urial_core.openai_tools import parse_call, parse_response_format, parse_tools
from urial_core.prompts.loading import parse_toml, preset_names
from urial_core.prompts.template_stops import template_stops
from urial_core.structured.json_scanner import JsonValue
from urial_core.structured.json_validation import check_schema, match_schema, validate_json

DEEP = "[" * 100_000
HEAD = 'version = 1\nname = "x"\ninstruction = "Do."\n'


def deep(levels: int) -> Any:
    """Return objects within each other."""
    whole: Any = 1
    for _ in range(levels):
        whole = {"items": whole}
    return whole


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 60_000 + " = 1",
        "x = {" + "'a' . " * 20_000 + "b = 1}",
        "[" + "a." * 60_000 + "a]",
        "x = " + DEEP,
        "x = " + "9" * 6_000,
        "a" * 120_000,
        "a" + " " * 120_000,
        '"""' + '\\"""' * 30_000,
    ],
    ids=["dotted", "inline", "table", "deep", "digits", "word", "spaces", "strings"],
)
def test_prompt_files_that_no_parser_likes(text: str) -> None:
    """A TOML file of deep keys, lists or numbers is an invalid prompt file, and soon."""
    start = process_time()
    with pytest.raises(PromptError, match=r"x\.toml"):
        parse_toml(HEAD + text, "x.toml")
    assert process_time() - start < 5


def test_dots_in_texts_are_no_keys() -> None:
    """Strings and comments may hold as many dots as they like."""
    dots = "a." * 50
    prompt = parse_toml(
        f"# {dots}\n{HEAD}[[examples]]\nquery = '''\n{dots}'''\nanswer = \"\\\"{dots}\"\n", "x"
    )
    assert prompt.examples[0].query.strip() == dots
    assert "default" in preset_names()


@pytest.mark.parametrize(
    "make",
    [
        lambda size: '["' + "a" * size,
        lambda size: "{" + '"a": 1, ' * (size // 8),
        lambda size: '{"a": ' + " " * size,
        lambda size: "[" * size,
        lambda size: '{"a": "' + "\\n" * (size // 2),
    ],
)
def test_a_streamed_value_takes_linear_time(make: Callable[[int], str]) -> None:
    """A value that comes character by character is read in time in proportion to its length."""

    def work(size: int) -> None:
        scanner, text = JsonValue(), make(size)
        for character in text:
            scanner.feed(character)
        assert scanner.text == text

    assert is_linear(work, 80_000)


@pytest.mark.parametrize(
    ("schema", "before", "after"),
    [
        ('{"properties": {"a": {"pattern": "^(a+)+$"}}}', '{"a": "', '"}'),
        ('{"patternProperties": {"^(a+)+$": {}}, "additionalProperties": false}', '{"', '": 1}'),
    ],
)
def test_patterns_take_linear_time(schema: str, before: str, after: str) -> None:
    """A pattern that makes Python's engine backtrack for hours is matched at once."""
    start = process_time()
    assert validate_json(before + "a" * 5_000 + "!" + after, schema)[1]
    assert not validate_json(before + "a" * 5_000 + after, schema)[1]
    assert process_time() - start < 2


@pytest.mark.parametrize("unit", ["A: x\n", "INFO: started\nWARN: slow\n", "{}: value\n"])
def test_stops_of_a_template_take_linear_time(unit: str) -> None:
    """Whatever a message repeats: logs and records of thousands of lines are sent, too."""
    words = itertools.product("bcdfghklmn", repeat=4)
    message = "".join(unit.format("".join(word)) for word in itertools.islice(words, 4000))
    start = process_time()
    assert template_stops(f"{message}INFO:")
    assert process_time() - start < 2  # 48 seconds in quadratic time


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (r"^(?!no)\w+$", "yes", "no"),
        (r"b", "abc", "acd"),
        (r"^a$", "a", "a\n"),
    ],
)
def test_patterns_match_as_the_standard_says(pattern: str, matching: str, other: str) -> None:
    """Patterns are searched for; look-ahead is understood."""
    schema = f'{{"pattern": "{pattern}"}}'.replace("\\", "\\\\")
    assert match_schema(matching, schema) == (matching, "")
    assert match_schema(other, schema)[1]


@pytest.mark.parametrize(
    "schema",
    [
        '{"$schema": 5}',
        '{"$schema": ["x"]}',
        '{"type": "object", "pattern": "["}',
        '{"$ref": 5}',
        '{"$ref": "http://[::1"}',
        '{"$ref": "#/nowhere"}',
        '{"$ref": "#"}',
        DEEP,
        '{"minimum": ' + "9" * 6_000 + "}",
    ],
)
def test_odd_schemas_are_typed_errors(schema: str) -> None:
    """A schema that cannot be used raises ``UnsupportedSchemaError``, or no value matches."""
    try:
        check_schema(schema)
        assert match_schema({"a": 1}, schema) != ({"a": 1}, "") or '"minimum"' in schema
    except UnsupportedSchemaError:
        return
    if '"pattern"' in schema:
        with pytest.raises(UnsupportedSchemaError):
            match_schema("a", schema)


@pytest.mark.parametrize("text", [DEEP, "9" * 6_000, f'{{"a": {DEEP}', '{"a": NaN}'])
def test_values_beyond_the_limits_do_not_match(text: str) -> None:
    """Deep nesting and huge numbers are mismatches, and a call with such has no arguments."""
    assert validate_json(text, "{}")[1]
    assert parse_call("f", text, "1").arguments in ("{}", '{"a": NaN}')


@pytest.mark.parametrize(
    "tools",
    [
        "x",
        5,
        {"a": 1},
        [5],
        [None],
        [{"function": 5}],
        [{"function": {"name": "f", "parameters": 5}}],
        [{"function": {"name": "f", "parameters": {"a": object()}}}],
        [{"function": {"name": "f", "parameters": deep(5_000)}}],
    ],
)
def test_tools_that_are_none(tools: Any) -> None:
    """Anything else than a list of functions is a ``ParameterError``."""
    with pytest.raises(ParameterError):
        parse_tools(tools)


def test_a_schema_that_is_too_deep() -> None:
    """A schema of more levels than recursion can bear is refused, one of fewer is not."""
    deepest = {"type": "json_schema", "json_schema": {"schema": deep(5_000)}}
    with pytest.raises(UnsupportedSchemaError, match="levels"):
        parse_response_format(deepest)
    shallow = {"type": "json_schema", "json_schema": {"schema": deep(50)}}
    assert parse_response_format(shallow).with_additional_properties_forbidden()
