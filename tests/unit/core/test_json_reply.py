"""Replies in a given form: given out as JSON, checked, and written anew once."""

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
from urial_core.testing import FakeModel

PROMPT = Prompt(name="tiny", instruction="Be kind.")
FORM = JsonSchema.of(
    {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
)
END = "\n````\n"

CASES: dict[str, tuple[JsonSchema, list[str], str]] = {
    "fits": (FORM, [f'"n": 4}}{END}'], '{"n": 4}'),
    "a line break in a string": (JsonSchema("{}"), [f'{{"a": "b\nc"}}{END}'], '{"a": "b\\nc"}'),
    "writes on": (FORM, ['"n": 4} and so on'], '{"n": 4}'),
    "another type": (FORM, [f'"n": "4"}}{END}'], '{"n": 4}'),
    "mended": (FORM, [f'"m": 4}}{END}', f'"n": 5}}{END}'], '{"n": 5}'),
    "not mended": (FORM, [f'"m": 4}}{END}', f'"m": 5}}{END}'], '{"m": 5}'),
    "no JSON": (FORM, [f"Four.{END}", f"Five.{END}"], "{Five."),
    "a list": (JsonSchema('{"type": "array"}'), [f"1, 2]{END}"], "[1, 2]"),
    "a number": (JsonSchema('{"type": "number"}'), [f"4.5{END}"], "4.5"),
    "any": (JsonSchema("{}"), [f'{{"a": "\\u00e9 é"}}{END}'], '{"a": "\\u00e9 é"}'),
}


def ask(form: JsonSchema, *scripts: Any, **more: Any) -> tuple[str, ReplyEnd]:
    """Get a reply as a stream."""
    chat = UrialChat(FakeModel(*scripts, **more), PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], response_format=form))
    assert isinstance(end, ReplyEnd)
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), end


def test_an_attempt_that_failed_takes_nothing_from_the_limit() -> None:
    """The value that is written anew may be as long as the first; the window bounds it, too."""
    for window in (None, 75):
        model = FakeModel(f'"m": 4}}{END}', f'"n": 5}}{END}', context_window=window)
        chat = UrialChat(model, PROMPT)
        parameters = GenerationParameters(max_tokens=30)
        request = chat.request([Message("user", "How many?")], parameters, response_format=FORM)
        assert chat.reply([request])[0].text == '{"n": 5}'
        first, again = model.requests
        assert first.max_tokens == 30 - 1  # the opening is ours
        assert again.max_tokens == (window - len(again.prompt.split()) if window else 30 - 1)


NOT_MENDED = ("not mended", "no JSON")


@many
@given(st.sampled_from(sorted(CASES)), sizes)
def test_replies(case: str, lengths: list[int]) -> None:
    """What does not fit is written anew once, then given out with what is wrong; for any split."""
    form, scripts, expected = CASES[case]
    text, end = ask(form, *(cut(script, lengths) for script in scripts))
    assert text == expected
    assert bool(end.validation_error) == (case in NOT_MENDED)


@pytest.mark.parametrize("case", CASES)
def test_whole_replies(case: str) -> None:
    """The same comes as a whole reply."""
    form, scripts, expected = CASES[case]
    chat = UrialChat(FakeModel(*scripts), PROMPT)
    [reply] = chat.reply([chat.request([Message("user", "?")], response_format=form)])
    assert reply.text == expected
    assert bool(reply.end.validation_error) == (case in NOT_MENDED)


def test_a_held_model_streams() -> None:
    """What a model held to the form writes is given out at once, and nothing behind its end."""
    model = FakeModel(
        ['{"n"', ": 4", "}", END, "more"],
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "How many?")], response_format=FORM)
    texts = [event.text for event in chat.stream(request) if isinstance(event, TextDelta)]
    assert texts == ['{"n"', ": 4", "}"]
    assert model.chunks_sent == 3
    assert model.requests[0].constraint == FORM.with_additional_properties_forbidden()


BROKEN_PROMISES = {
    "another member": ('{"m": 4}', "'n' is a required property"),
    "another type": ('{"n": "4"}', "n: '4' is not of type 'integer'"),
    "no number": ('{"n": NaN}', "This is not JSON: NaN is no number."),
    "half of it": ('{"n": 4', "This is not JSON: Expecting ',' delimiter"),
}


@pytest.mark.parametrize("case", BROKEN_PROMISES)
def test_a_model_that_only_says_that_it_holds_streaming(case: str) -> None:
    """What was given out stands; the end says what is wrong with it, and it is asked for once."""
    written, wrong = BROKEN_PROMISES[case]
    model = FakeModel(
        [written[:4], written[4:]],
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], response_format=FORM))
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == [
        written[:4],
        written[4:],
    ]
    assert isinstance(end, ReplyEnd)
    assert end.validation_error.startswith(wrong)
    assert len(model.requests) == 1


@pytest.mark.parametrize("case", BROKEN_PROMISES)
@pytest.mark.parametrize("second", ['"n": 5}', '"m": 5}'])
def test_a_model_that_only_says_that_it_holds(case: str, second: str) -> None:
    """A whole reply is written anew once where putting a value right is not enough."""
    model = FakeModel(
        BROKEN_PROMISES[case][0],
        second,
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    [reply] = chat.reply([chat.request([Message("user", "How many?")], response_format=FORM)])
    if case == "another type":
        assert (reply.text, reply.end.validation_error) == ('{"n": 4}', "")
        return
    assert reply.text == "{" + second
    assert reply.end.validation_error == ("" if "n" in second else "'n' is a required property")
    assert [asked.constraint for asked in model.requests] == [
        FORM.with_additional_properties_forbidden(),
        None,
    ]


@pytest.mark.parametrize("form", [FORM, JsonSchema('{"anyOf": [{"type": "object"}]}')])
def test_prose_of_a_model_that_should_be_held(form: JsonSchema) -> None:
    """What cannot become JSON is not given out, even live: the model is stopped and asked again."""
    second = f'{"" if form == FORM else "{"}"n": 4}}'
    model = FakeModel(
        ["Well", ", there", " are"],
        second,
        features=ModelFeatures(enforces_choices=True, enforces_json=True),
    )
    chat = UrialChat(model, PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], response_format=form))
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ['{"n": 4}']
    assert isinstance(end, ReplyEnd)
    assert end.validation_error == ""
    assert model.chunks_sent == 2
    assert "\nWell\n````\n\n# System:\n````\nThis is not JSON" in model.requests[1].prompt


class CutOff(FakeModel):
    """Says that its completions were cut off."""

    def _chunk(self, piece: str | Exception, *, last: bool) -> Any:
        return replace(super()._chunk(piece, last=last), finish="length" if last else None)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Any]:
        return [replace(done, finish="length") for done in super().complete(requests)]


@pytest.mark.parametrize("held", [True, False])
def test_a_value_that_is_cut_off(held: bool) -> None:
    """It is not asked for again, and its end says both that it was cut and that it does not fit."""
    chat = UrialChat(
        CutOff(
            ['{"n"', ": "] if held else ['"n"', ": "],
            features=ModelFeatures(enforces_choices=held, enforces_json=held),
        ),
        PROMPT,
    )
    request = chat.request([Message("user", "How many?")], response_format=FORM)
    *_, end = chat.stream(request)
    [reply] = chat.reply([request])
    for ended in (end, reply.end):
        assert isinstance(ended, ReplyEnd)
        assert ended.reason == "length"
        assert ended.validation_error.startswith("This is not JSON")
    assert reply.text == '{"n":'
    assert len(chat.model.requests) == 2  # type: ignore[attr-defined]


def test_log_probabilities_of_a_whole_reply() -> None:
    """A value that is given out as it came keeps those of its tokens."""

    class Scoring(FakeModel):
        def complete(self, requests: Sequence[CompletionRequest]) -> list[Any]:
            logprobs = (TokenLogprob('{"n": 4}', -0.5),)
            return [replace(done, logprobs=logprobs) for done in super().complete(requests)]

    chat = UrialChat(
        Scoring('{"n": 4}', features=ModelFeatures(enforces_choices=True, enforces_json=True)),
        PROMPT,
    )
    [reply] = chat.reply([chat.request([Message("user", "How many?")], response_format=FORM)])
    assert [logprob.logprob for logprob in reply.logprobs] == [-0.5]


def test_the_beginning_is_written_for_it() -> None:
    """A model that is not held finds the opening brace on the page, and what was wrong."""
    model = FakeModel(f'"m": 4}}{END}', f'"n": 4}}{END}')
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "How many?")], response_format=FORM)
    chat.reply([request])
    first, second = (asked.prompt for asked in model.requests)
    assert first == request.prompt + "{"
    assert second == (
        first
        + '"m": 4}\n````\n'
        + "\n# System:\n````\n'n' is a required property\n````\n"
        + "\n# Answer:\n````\n{"
    )


def test_a_prefill_is_continued() -> None:
    """A prefilled beginning is part of the value, and not given out again."""
    chat = UrialChat(FakeModel(' 4, "m": 1}'), PROMPT)
    messages = [Message("user", "How many?"), Message("assistant", '{"n":')]
    request = chat.request(messages, response_format=FORM, prefill=True)
    text = chat.reply([request])[0].text
    assert json.loads('{"n":' + text) == {"n": 4, "m": 1}
