"""Replies in a given form: given out as JSON, checked, and written anew once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hostile import cut, many, sizes
from hypothesis import given
from hypothesis import strategies as st

from urial_core import JsonSchema, Message, Prompt, ReplyEnd, TextDelta, UrialChat
from urial_core.testing import ScriptedModel

PROMPT = Prompt(name="tiny", instruction="Be kind.")
FORM = JsonSchema.of(
    {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
)
END = "\n````\n"

CASES: dict[str, tuple[JsonSchema, list[str], str]] = {
    "fits": (FORM, [f'"n": 4}}{END}'], '{"n": 4}'),
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
    chat = UrialChat(ScriptedModel(*scripts, **more), PROMPT)
    *deltas, end = chat.stream(chat.request([Message("user", "How many?")], output=form))
    assert isinstance(end, ReplyEnd)
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), end


@many
@given(st.sampled_from(sorted(CASES)), sizes)
def test_replies(case: str, lengths: list[int]) -> None:
    """What does not fit is written anew once, then given out as it is; for any split."""
    form, scripts, expected = CASES[case]
    assert ask(form, *(cut(script, lengths) for script in scripts))[0] == expected


@pytest.mark.parametrize("case", CASES)
def test_whole_replies(case: str) -> None:
    """The same comes as a whole reply."""
    form, scripts, expected = CASES[case]
    chat = UrialChat(ScriptedModel(*scripts), PROMPT)
    assert chat.reply([chat.request([Message("user", "?")], output=form)])[0].text == expected


def test_a_held_model_streams() -> None:
    """What a model held to the form writes is given out at once, and nothing behind its end."""
    model = ScriptedModel(['{"n"', ": 4", "}", END, "more"], constrained=True)
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "How many?")], output=FORM)
    texts = [event.text for event in chat.stream(request) if isinstance(event, TextDelta)]
    assert texts == ['{"n"', ": 4", "}"]
    assert model.chunks_sent == 3
    assert model.requests[0].constraint == FORM


def test_the_beginning_is_written_for_it() -> None:
    """A model that is not held finds the opening brace on the page, and what was wrong."""
    model = ScriptedModel(f'"m": 4}}{END}', f'"n": 4}}{END}')
    chat = UrialChat(model, PROMPT)
    request = chat.request([Message("user", "How many?")], output=FORM)
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
    chat = UrialChat(ScriptedModel(' 4, "m": 1}'), PROMPT)
    messages = [Message("user", "How many?"), Message("assistant", '{"n":')]
    request = chat.request(messages, output=FORM, prefill=True)
    text = chat.reply([request])[0].text
    assert json.loads('{"n":' + text) == {"n": 4, "m": 1}
