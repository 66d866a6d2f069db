"""Constrained decoding gives JSON that matches the schema, whatever the logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from drawn_schemas import schemas
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from transformers import PreTrainedTokenizerFast

from urial_core.backends.transformers.json_grammar import JsonGrammars, JsonText
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.structured.constraints import JsonSchema

VOCABULARY = 608  # a few more than the tokenizer has, as many models
ANYTHING = settings(
    max_examples=2 * settings().max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SLOW_TO_CLOSE: dict[str, dict[str, Any]] = {
    "required keys": {
        "type": "object",
        "properties": {f"key_{number}": {"type": "string"} for number in range(8)},
        "required": [f"key_{number}" for number in range(8)],
    },
    "a recursive value or none": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                "required": ["next"],
            }
        },
        "$ref": "#/$defs/node",
    },
    "the longer branch first": {
        "anyOf": [{"type": "string", "minLength": 200}, {"type": "array", "items": {}}]
    },
    "a loop before the end": {"type": "string", "pattern": "^[a-w]*xyz$"},
    "a loop in each item": {"type": "array", "items": {"pattern": "^a*b$", "type": "string"}},
    "a count": {"type": "string", "minLength": 90, "maxLength": 95},
    "an address": {"type": "string", "format": "email"},
    "multiples": {"type": "array", "items": {"type": "integer", "multipleOf": 7, "minimum": 1}},
    "other scripts": {"enum": ["你好世界", "Привет", "🎉🎊"]},
}


END_OF_TEXT = 1
"""The token of the fixture ``tokenizer``."""


@pytest.fixture(scope="module")
def grammars(tokenizer: PreTrainedTokenizerFast) -> JsonGrammars:
    return JsonGrammars(Tokenization(tokenizer), VOCABULARY)


def written(
    text: JsonText, scores: Callable[[list[int]], torch.Tensor]
) -> tuple[list[int], str | None]:
    """Decode greedily; return the tokens and the finish. Logits may depend on earlier tokens."""
    tokens = list[int]()
    while True:
        while text.pending:
            tokens.append(text.pending.popleft())
        if text.finish:
            return tokens, text.finish
        allowed = text.allowed(VOCABULARY, torch.device("cpu"))
        allowed[END_OF_TEXT] = False  # as in the engine: it ends a value, and is none of its text
        logits = scores(tokens)
        if text.may_end and not allowed[logits.argmax()]:
            return tokens, "stop"
        text.accept(int(logits.masked_fill(~allowed, -torch.inf).argmax()))


def at_random(seed: int) -> Callable[[list[int]], torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return lambda _: torch.randn(VOCABULARY, generator=random)


def favouring(tokens: list[int]) -> Callable[[list[int]], torch.Tensor]:
    """Return logits that favour these tokens in turn."""

    def scores(before: list[int]) -> torch.Tensor:
        wanted = tokens[len(before)] if len(before) < len(tokens) else tokens[-1]
        return torch.nn.functional.one_hot(torch.tensor(wanted), VOCABULARY).float()

    return scores


def decode(tokenizer: PreTrainedTokenizerFast, tokens: list[int]) -> str:
    return str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))


@ANYTHING
@given(data=st.data(), seed=st.integers(0, 2**32), max_tokens=st.integers(1, 60) | st.just(200))
def test_random_schemas(
    data: st.DataObject,
    seed: int,
    max_tokens: int,
    grammars: JsonGrammars,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """For any schema and any logits, the text matches within ``max_tokens``, or is cut at once."""
    schema = data.draw(schemas())
    text = grammars.text(JsonSchema.of(schema), max_tokens)
    if text.finish == "length":
        assert not text.pending
        return
    tokens, _ = written(text, at_random(seed))
    assert len(tokens) <= max_tokens
    value = json.loads(decode(tokenizer, tokens))
    Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize("name", SLOW_TO_CLOSE)
def test_hard_closings(
    name: str, grammars: JsonGrammars, tokenizer: PreTrainedTokenizerFast
) -> None:
    """A text that can be closed within 150 tokens is closed, whatever was written before."""
    schema = SLOW_TO_CLOSE[name]
    finishes = set[str | None]()
    for seed in range(40):
        tokens, finish = written(grammars.text(JsonSchema.of(schema), 150), at_random(seed))
        assert len(tokens) <= 150
        Draft202012Validator(schema).validate(json.loads(decode(tokenizer, tokens)))
        finishes.add(finish)
    assert finishes <= {"stop", "length"}


def test_an_endless_string_is_closed(
    grammars: JsonGrammars, tokenizer: PreTrainedTokenizerFast
) -> None:
    """A string that the model never ends is closed at the last moment, with finish "length"."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "null"}}},
        "required": ["a", "b"],
    }
    letter = tokenizer.convert_tokens_to_ids("x")
    for max_tokens in range(20, 30):
        text = grammars.text(JsonSchema.of(schema), max_tokens)
        tokens, finish = written(text, favouring([letter]))
        value = json.loads(decode(tokenizer, tokens))
        assert set(value["a"]) == {"x"}
        assert value["b"] == []
        assert finish == "length"
        assert len(tokens) in (
            max_tokens,
            max_tokens - 1,
        )  # the last may have become one with the one before


def test_too_few_tokens(grammars: JsonGrammars) -> None:
    """With fewer tokens than the shortest value needs, nothing is written, and it is cut."""
    schema = JsonSchema.of({"type": "object", "properties": {"a": {}}, "required": ["a"]})
    assert written(grammars.text(schema, 3), at_random(0)) == ([], "length")
    assert grammars.text(schema, 12).finish is None


def test_style(grammars: JsonGrammars, tokenizer: PreTrainedTokenizerFast) -> None:
    """JSON is on one line, with a space after commas and colons and nowhere else."""
    schema = {
        "type": "object",
        "properties": {
            "b": {"const": {"x": [1, 2], "y": "größe, 你好: 🎉"}},
            "a": {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    tokens, _ = written(grammars.text(JsonSchema.of(schema), 200), at_random(0))
    value = {"b": {"x": [1, 2], "y": "größe, 你好: 🎉"}, "a": [1, 1]}
    assert decode(tokenizer, tokens) == json.dumps(value, ensure_ascii=False)


def test_unicode_is_not_escaped(grammars: JsonGrammars, tokenizer: PreTrainedTokenizerFast) -> None:
    """Characters beyond ASCII can be written as they are, and cannot be written as escapes."""
    for text, fits in [("你好 🎉 é", True), ("\\u00e9", False), ("\\n", True), ("\\u0007", True)]:
        wanted = tokenizer.encode(f'"{text}"', add_special_tokens=False)
        tokens, _ = written(
            grammars.text(JsonSchema.of({"type": "string"}), 100), favouring(wanted)
        )
        assert (tokens == wanted) is fits, text


def test_a_number_ends_where_the_model_ends_it(grammars: JsonGrammars, tokenizer: Any) -> None:
    """A number ends at the first token that the model prefers and that cannot be part of it."""
    one, newline = (tokenizer.convert_tokens_to_ids(token) for token in ("1", "Ċ"))
    text = grammars.text(JsonSchema.of({"type": "integer"}), 100)
    tokens, finish = written(text, favouring([one, one, newline]))
    assert (decode(tokenizer, tokens), finish) == ("11", "stop")
