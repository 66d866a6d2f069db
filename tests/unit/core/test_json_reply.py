"""Replies with a response format: emitted as JSON, validated, and retried once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from adversarial import cut, many, sizes
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    CompletionRequest,
    GenerationParameters,
    JsonSchema,
    Message,
    Prompt,
    ReplyEnd,
    TextDelta,
    TokenLogprob,
    UrialChat,
)
from urial_core.completion import ModelFeatures
from urial_core.structured.grammar import grammar_schema
from urial_core.structured.value_limits import DEFAULT_LIMITS
from urial_core.testing import FakeModel

PROMPT = Prompt(name="tiny", instruction="Be kind.")
SCHEMA = JsonSchema.of(
    {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
)
END = "\n````\n"

CASES: dict[str, tuple[JsonSchema, list[str], str]] = {
    "valid": (SCHEMA, [f'"n": 4}}{END}'], '{"n": 4}'),
    "a line break in a string": (JsonSchema("{}"), [f'{{"a": "b\nc"}}{END}'], '{"a": "b\\nc"}'),
    "text after the value": (SCHEMA, ['"n": 4} and so on'], '{"n": 4}'),
    "another type": (SCHEMA, [f'"n": "4"}}{END}'], '{"n": 4}'),
    "retried": (SCHEMA, [f'"m": 4}}{END}', f'"n": 5}}{END}'], '{"n": 5}'),
    "invalid twice": (SCHEMA, [f'"m": 4}}{END}', f'"m": 5}}{END}'], '{"m": 5}'),
    "no JSON": (SCHEMA, [f"Four.{END}", f"Five.{END}"], "{Five."),
    "a list": (JsonSchema('{"type": "array"}'), [f"1, 2]{END}"], "[1, 2]"),
    "a number": (JsonSchema('{"type": "number"}'), [f"4.5{END}"], "4.5"),
    "any": (JsonSchema("{}"), [f'{{"a": "\\u00e9 é"}}{END}'], '{"a": "\\u00e9 é"}'),
}


def ask(schema: JsonSchema, *responses: Any) -> tuple[str, ReplyEnd]:
    """Return text and end of a streamed reply."""
    chat = UrialChat(FakeModel(*responses), PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], response_format=schema))
    assert isinstance(end, ReplyEnd)
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), end


@pytest.mark.parametrize("pieces", [['{"n": 4}'], ["\n", " {", '"n": 4}'], ["{", "\n", '"n": 4}']])
def test_a_model_that_begins_the_object_anew(pieces: list[str]) -> None:
    """A second opening brace, after the one that the prompt holds, is left out: no retry."""
    text, end = ask(SCHEMA, pieces)
    assert json.loads(text) == {"n": 4}
    assert (end.validation_error, end.attempts) == ("", 1)


def test_a_failed_attempt_does_not_count_against_max_tokens() -> None:
    """A retried value may be as long as the first one, within the context window."""
    for window in (None, 75):
        model = FakeModel(f'"m": 4}}{END}', f'"n": 5}}{END}', context_window=window)
        chat = UrialChat(model, PROMPT)
        parameters = GenerationParameters(max_tokens=30)
        request = chat.request([Message("user", "How many?")], parameters, response_format=SCHEMA)
        assert chat.reply([request])[0].text == '{"n": 5}'
        first, retry = model.requests
        assert first.max_tokens == 30 - 1  # less the opening brace, which the prompt holds
        assert retry.max_tokens == (window - len(retry.prompt.split()) if window else 30 - 1)


INVALID = ("invalid twice", "no JSON")


@many
@given(st.sampled_from(sorted(CASES)), sizes)
def test_streamed_replies(case: str, lengths: list[int]) -> None:
    """An invalid value is retried once, then emitted with its validation error; for any split."""
    schema, responses, expected = CASES[case]
    text, end = ask(schema, *(cut(response, lengths) for response in responses))
    assert text == expected
    assert bool(end.validation_error) == (case in INVALID)


@pytest.mark.parametrize("case", CASES)
def test_whole_replies(case: str) -> None:
    """A whole reply has the same text and validation error as a streamed one."""
    schema, responses, expected = CASES[case]
    chat = UrialChat(FakeModel(*responses), PROMPT)
    [reply] = chat.reply([chat.request([Message("user", "?")], response_format=schema)])
    assert reply.text == expected
    assert bool(reply.end.validation_error) == (case in INVALID)


def test_a_constrained_value_is_streamed() -> None:
    """The text of a model that enforces the schema is emitted at once, up to the value's end."""
    model = FakeModel(
        ['{"n"', ": 4", "}", END, "more"],
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "How many?")], response_format=SCHEMA)
    texts = [event.text for event in chat.stream(request) if isinstance(event, TextDelta)]
    assert texts == ['{"n"', ": 4", "}"]
    assert model.chunks_sent == 3
    assert model.requests[0].constraint == grammar_schema(SCHEMA, DEFAULT_LIMITS).schema


UNENFORCED = {
    "another property": ('{"m": 4}', "'n' is a required property"),
    "another type": ('{"n": "4"}', "n: '4' is not of type 'integer'"),
    "not a number": ('{"n": NaN}', "This is not JSON: NaN is no number."),
    "incomplete": ('{"n": 4', "This is not JSON: Expecting ',' delimiter"),
}


@pytest.mark.parametrize("case", UNENFORCED)
def test_an_invalid_value_that_was_emitted_is_not_retried(case: str) -> None:
    """A stream cannot retract an emitted value: the end reports its validation error."""
    text, error = UNENFORCED[case]
    model = FakeModel(
        [text[:4], text[4:]],
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], response_format=SCHEMA))
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == [
        text[:4],
        text[4:],
    ]
    assert isinstance(end, ReplyEnd)
    assert end.validation_error.startswith(error)
    assert len(model.requests) == 1


@pytest.mark.parametrize("case", UNENFORCED)
@pytest.mark.parametrize("second", ['"n": 5}', '"m": 5}'])
def test_an_invalid_whole_value_is_repaired_or_retried(case: str, second: str) -> None:
    """An invalid whole value is repaired or retried once, even if the model enforces schemas."""
    model = FakeModel(
        UNENFORCED[case][0],
        second,
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    [reply] = chat.reply([chat.request([Message("user", "How many?")], response_format=SCHEMA)])
    if case == "another type":
        assert (reply.text, reply.end.validation_error) == ('{"n": 4}', "")
        return
    assert reply.text == "{" + second
    assert reply.end.validation_error == ("" if "n" in second else "'n' is a required property")
    assert [request.constraint for request in model.requests] == [
        grammar_schema(SCHEMA, DEFAULT_LIMITS).schema,
        None,
    ]


@pytest.mark.parametrize("schema", [SCHEMA, JsonSchema('{"anyOf": [{"type": "object"}]}')])
def test_prose_instead_of_json_is_retried(schema: JsonSchema) -> None:
    """Text that cannot become JSON is not emitted: the model is stopped, and the value retried."""
    second = f'{"" if schema == SCHEMA else "{"}"n": 4}}'
    model = FakeModel(
        ["Well", ", there", " are"],
        second,
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], response_format=schema))
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ['{"n": 4}']
    assert isinstance(end, ReplyEnd)
    assert end.validation_error == ""
    assert model.chunks_sent == 2
    assert "\nWell\n````\n\n# System:\n````\nThis is not JSON" in model.requests[1].prompt


class CutOff(FakeModel):
    """Fake whose completions all reach ``max_tokens``."""

    def _chunk(self, piece: Any, *, last: bool) -> Any:
        return replace(super()._chunk(piece, last=last), finish="length" if last else None)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Any]:
        return [replace(done, finish="length") for done in super().complete(requests)]


@pytest.mark.parametrize("constrained", [True, False])
def test_a_value_cut_off_is_not_retried(constrained: bool) -> None:
    """A value cut off is not retried; the end reports both the length and the validation error."""
    chat = UrialChat(
        CutOff(
            ['{"n"', ": "] if constrained else ['"n"', ": "],
            features=ModelFeatures(enforces_choices=constrained, enforces_json=constrained),
        ),
        PROMPT,
    )
    request = chat.request([Message("user", "How many?")], response_format=SCHEMA)
    *_, end = chat.stream(request)
    [reply] = chat.reply([request])
    for reply_end in (end, reply.end):
        assert isinstance(reply_end, ReplyEnd)
        assert reply_end.reason == "length"
        assert reply_end.validation_error.startswith("This is not JSON")
    assert reply.text == '{"n":'
    assert len(chat.model.requests) == 2  # type: ignore[attr-defined]


def test_log_probabilities_of_a_whole_reply() -> None:
    """A value that is emitted unchanged keeps the log-probabilities of its tokens."""

    class Scoring(FakeModel):
        def complete(self, requests: Sequence[CompletionRequest]) -> list[Any]:
            logprobs = (TokenLogprob('{"n": 4}', -0.5),)
            return [replace(done, logprobs=logprobs) for done in super().complete(requests)]

    chat = UrialChat(
        Scoring('{"n": 4}', features=ModelFeatures(enforces_choices=True, enforces_json=True)),
        PROMPT,
    )
    [reply] = chat.reply([chat.request([Message("user", "How many?")], response_format=SCHEMA)])
    assert [logprob.logprob for logprob in reply.logprobs] == [-0.5]


def test_the_prompt_holds_the_opening_brace_and_the_error() -> None:
    """Without constraints the prompt ends with the opening brace, and a retry's has the error."""
    model = FakeModel(f'"m": 4}}{END}', f'"n": 4}}{END}')
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "How many?")], response_format=SCHEMA)
    chat.reply([request])
    first, second = (request.prompt for request in model.requests)
    assert first == request.prompt + "{"
    assert second == (
        first
        + '"m": 4}\n````\n'
        + "\n# System:\n````\n'n' is a required property\n````\n"
        + "\n# Answer:\n````\n{"
    )


REFERRING: dict[str, Any] = {"$defs": {"N": {"type": "object"}, "M": {"$ref": "#/$defs/N"}}}


@pytest.mark.parametrize(
    ("schema", "first"),
    [
        ({**REFERRING, "$ref": "#/$defs/N"}, "{"),
        ({**REFERRING, "anyOf": [{"$ref": "#/$defs/N"}, {"$ref": "#/$defs/M"}]}, "{"),
        ({**REFERRING, "oneOf": [{"$ref": "#/$defs/N"}, {"type": ["object"]}]}, "{"),
        ({"allOf": [{"minProperties": 1}, {"type": "object"}]}, "{"),
        ({"allOf": [{"minItems": 1}, {"type": "array"}]}, ""),
        ({**REFERRING, "anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}, ""),
        ({**REFERRING, "anyOf": [{"$ref": "#/$defs/N"}, {}]}, ""),
        ({"type": ["object", "array"]}, ""),
        ({"$defs": {"N": {"anyOf": [{"$ref": "#/$defs/N"}]}}, "$ref": "#/$defs/N"}, ""),
    ],
)
def test_the_prompt_holds_the_first_character_that_all_values_share(
    schema: dict[str, Any], first: str
) -> None:
    """References are followed, and the branches of a union compared, to open an object.

    A list is opened only where the schema itself says so: a model that begins anew would nest it.
    """
    chat = UrialChat(FakeModel(f"x{END}"), PROMPT)
    form = JsonSchema.of(schema)
    request = chat.request([Message("user", "How many?")], response_format=form)
    chat.reply([request])
    assert chat.model.requests[0].prompt == request.prompt + first


@pytest.mark.parametrize(
    ("prefill", "rest"), [('{"n": "', '3", "m": 1}'), (' {"n": ', '3, "m": 1}')]
)
def test_a_prefill_is_never_emitted_again(prefill: str, rest: str) -> None:
    """It stays as it was given, so nothing of the value is repaired."""
    chat = UrialChat(FakeModel(rest), PROMPT)
    messages = [Message("user", "How many?"), Message("assistant", prefill)]
    request = chat.request(messages, response_format=SCHEMA, prefill=True)
    [reply] = chat.reply([request])
    assert reply.text == rest
    assert bool(reply.end.validation_error) is ('"3"' in prefill + rest)


def test_a_prefill_is_continued() -> None:
    """A prefill is the beginning of the value, and is not emitted again."""
    chat = UrialChat(FakeModel(' 4, "m": 1}'), PROMPT)
    messages = [Message("user", "How many?"), Message("assistant", '{"n":')]
    request = chat.request(messages, response_format=SCHEMA, prefill=True)
    text = chat.reply([request])[0].text
    assert json.loads('{"n":' + text) == {"n": 4, "m": 1}
