"""Constrained JSON that ``max_tokens`` cut: it is made whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_server import DONE, WAYS, FakeServer, Pieces, asked, piece, request_for
from jsonschema import validate

from urial_core.backends.completions_server import DIALECTS, completion_of
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.cut_json import rest_of

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
FITTING = [
    (
        CALL,
        (
            '{"name": "order", "arguments": {"größe": -1.5e3, "note": "お茶 \\"\\n\\\\", '
            '"day": "2024-02-29", "lines": ["teapot", "tea"], "paid": null}}'
        ),
    ),
    ({"type": "object"}, '{"a": [1, {"b": true}, []], "c": "x"}'),
    ({"type": "array", "items": {"type": "integer"}}, "[1, -23]"),
]


@pytest.mark.parametrize(("schema", "text"), FITTING)
def test_wherever_it_is_cut_it_becomes_whole(schema: dict[str, Any], text: str) -> None:
    """Every beginning of a value that fits is made one that fits."""
    for size in range(len(text) + 1):
        whole = text[:size] + rest_of(text[:size], JsonSchema.of(schema))
        validate(json.loads(whole), schema)


def test_what_is_whole_gets_nothing() -> None:
    """A value that was finished with the last token stays as it is."""
    for schema, text in FITTING:
        assert rest_of(text, JsonSchema.of(schema)) == ""


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "object"}, "Well, "),
        ({"type": "integer"}, '"'),
        ({"type": "string", "pattern": "(?=x)"}, '"'),
    ],
)
def test_what_does_not_fit_is_left(schema: dict[str, Any], text: str) -> None:
    """A server that did not hold to the schema, or a schema that is not known, gets no rest."""
    assert rest_of(text, JsonSchema.of(schema)) == ""


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_completion_is_whole(kind: str, way: str) -> None:
    """Its last chunk brings the rest, and still says why the server stopped."""
    pieces = ['{"a":', ' "cat to cat to c']
    answer = {"choices": [{"index": 0, "text": "".join(pieces), "finish_reason": "length"}]}
    stream = [piece(pieces[0]), piece(pieces[1], "length"), DONE]
    fake_server = FakeServer(kind, lambda body: Pieces(stream) if body.get("stream") else answer)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    request = request_for(constraint=JsonSchema.of(schema).with_additional_properties_forbidden())
    chunks = await asked(fake_server.model(), way, request)
    assert "".join(chunk.text for chunk in chunks) == '{"a": "cat to cat to c"}'
    assert chunks[-1].finish == "length"


def test_what_ended_by_itself_is_left() -> None:
    """Only what was cut is completed: an engine that stops early is not covered up."""
    request = request_for(constraint=JsonSchema.of({"type": "object"}))
    answer = {"choices": [{"index": 0, "text": '{"a": ', "finish_reason": "stop"}]}
    assert completion_of(answer, request, DIALECTS["vllm"]).text == '{"a": '
