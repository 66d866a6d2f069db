"""Closing constrained JSON that ``max_tokens`` cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_server import DONE, WAYS, FakeServer, Pieces, chunks_from, piece, request_for
from jsonschema import validate

from urial_core.backends.completions_server import DIALECTS, completion_of
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_closing import rest_of

CALL = {
    "type": "object",
    "properties": {
        "name": {"const": "order"},
        "arguments": {
            "type": "object",
            "properties": {
                "größe": {"type": "number"},
                "note": {"type": "string", "minLength": 3},
                "day": {"type": "string", "format": "date"},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1},
                "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
            },
            "required": ["größe", "note", "day", "lines"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "arguments"],
    "additionalProperties": False,
    "$defs": {"line": {"enum": ["tea", "teapot"]}},
}
VALID = [
    (
        CALL,
        (
            '{"name": "order", "arguments": {"größe": -1500.25, "note": "お茶 \\"\\n\\\\", '
            '"day": "2024-02-29", "lines": ["teapot", "tea"], "paid": null}}'
        ),
    ),
    ({"type": "object"}, '{"a": [1, {"b": true}, []], "c": "x"}'),
    ({"type": "array", "items": {"type": "integer"}}, "[1, -23]"),
]


@pytest.mark.parametrize(("schema", "text"), VALID)
def test_json_is_closed_wherever_it_is_cut(schema: dict[str, Any], text: str) -> None:
    """Every prefix of a valid value becomes a valid value."""
    for size in range(len(text) + 1):
        whole = text[:size] + rest_of(text[:size], JsonSchema.of(schema))
        validate(json.loads(whole), schema)


def test_a_complete_value_stays_as_it_is() -> None:
    """A value that ended with the last token is not changed."""
    for schema, text in VALID:
        assert rest_of(text, JsonSchema.of(schema)) == ""


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "object"}, "Well, "),
        ({"type": "integer"}, '"'),
    ],
)
def test_an_invalid_prefix_is_not_closed(schema: dict[str, Any], text: str) -> None:
    """Text that the schema does not allow is left alone."""
    assert rest_of(text, JsonSchema.of(schema)) == ""


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_completion_is_closed(kind: str, way: str) -> None:
    """Its last chunk has the rest, and still the server's finish reason."""
    pieces = ['{"a":', ' "cat to cat to c']
    response = {"choices": [{"index": 0, "text": "".join(pieces), "finish_reason": "length"}]}
    stream = [piece(pieces[0]), piece(pieces[1], "length"), DONE]
    fake_server = FakeServer(kind, lambda body: Pieces(stream) if body.get("stream") else response)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    request = request_for(constraint=JsonSchema.of(schema).with_additional_properties_forbidden())
    chunks = await chunks_from(fake_server.model(), way, request)
    assert "".join(chunk.text for chunk in chunks) == '{"a": "cat to cat to c"}'
    assert chunks[-1].finish == "length"


def test_a_completion_that_ended_by_itself_is_not_closed() -> None:
    """An engine that stops too early is not covered up."""
    request = request_for(constraint=JsonSchema.of({"type": "object"}))
    response = {"choices": [{"index": 0, "text": '{"a": ', "finish_reason": "stop"}]}
    assert completion_of(response, request, DIALECTS["vllm"]).text == '{"a": '
