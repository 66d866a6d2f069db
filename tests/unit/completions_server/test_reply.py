"""Replies from responses to requests that others sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_server import KINDS, PROMPT, FakeServer
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    ConversationError,
    GenerationError,
    GenerationParameters,
    JsonSchema,
    Message,
    ServerError,
    Tool,
    ToolUse,
    UrialChat,
    compose,
)
from urial_core.backends.completions_server import DIALECTS, VLLM, Dialect, reply_of
from urial_core.composing import ReplyRequest

MESSAGES = [Message("system", "Be brief."), Message("user", "Hi")]
SCHEMA = JsonSchema.of(
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
)
USAGE = {
    "prompt_tokens": 90,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 64},
}


def request(**options: Any) -> ReplyRequest:
    """Return a composed conversation."""
    return compose(PROMPT, MESSAGES, **options)


def responded(text: str, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """Return a response, with a log-probability for each character."""
    logprobs = {
        "tokens": list(text),
        "token_logprobs": [-0.5] * len(text),
        "top_logprobs": [{"x": -0.5}] * len(text),
    }
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": logprobs}
    return {"choices": [choice], "usage": USAGE, **more}


TEXTS = st.lists(
    st.sampled_from(["Hello", " ", "\n", "````", "\n````\n# Query:\n", "# Answer:\n", "STOP", "a"]),
    max_size=8,
).map("".join)


@given(
    text=TEXTS,
    finish=st.sampled_from(["stop", "length", None]),
    kind=st.sampled_from(KINDS),
    stop=st.sampled_from([(), ("STOP",)]),
    prefilled=st.booleans(),
)
def test_the_reply_is_that_of_a_chat(
    text: str, finish: str | None, kind: str, stop: tuple[str, ...], *, prefilled: bool
) -> None:
    """Text, end, usage and log-probabilities are those of a chat that sent the request."""
    messages = [*MESSAGES, Message("assistant", "Well, ")] if prefilled else MESSAGES
    parameters = GenerationParameters(stop=stop, logprobs=1)
    composed = compose(PROMPT, messages, parameters, prefill=prefilled)
    reply = reply_of(responded(text, finish), composed, DIALECTS[kind])
    fake_server = FakeServer(kind, lambda _: responded(text, finish))
    chat = UrialChat(fake_server.model(), PROMPT)
    (expected,) = chat.reply([composed])
    if len(fake_server.completions) == 1:  # an empty reply is retried
        assert reply == expected
    else:
        assert reply.text == expected.text == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_response_is_read_too(kind: str) -> None:
    """The text of a chat's response is decoded as that of a completion."""
    response = responded("")
    message = {"role": "assistant", "content": "Hello there\n````\n# Query:\nWhat"}
    response["choices"][0] |= {"message": message, "text": None}
    reply = reply_of(response, request(), DIALECTS[kind])
    assert reply.text == "Hello there"
    assert reply.end.reason == "delimiter"


def with_absent_as_none(value: Any) -> Any:
    """Return a response as in a table row: members of other rows are present, and None."""
    if isinstance(value, list):
        return [with_absent_as_none(item) for item in value]
    if not isinstance(value, dict):
        return value
    absent = ("error", "object", "code", "message", "__verbose", "timings", "stop_reason", "usage")
    return dict.fromkeys(absent) | {key: with_absent_as_none(item) for key, item in value.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_are_none_are_absent(kind: str) -> None:
    """Tables of rows fill each row's objects with the members of other rows."""
    response = responded("Hello")
    filled = with_absent_as_none(response)
    assert reply_of(filled, request(), DIALECTS[kind]) == reply_of(
        response, request(), DIALECTS[kind]
    )


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ({"error": {"message": "too long", "code": 400}, "choices": None}, 400),
        ({"object": "error", "message": "too long", "code": 400}, 400),
        ({"error": "too long"}, None),
        ({"error": {"message": "too long", "code": "context_length_exceeded"}}, None),
    ],
)
def test_a_refusal_is_an_error_with_the_servers_message(response: Any, status: int | None) -> None:
    """Every shape of refusal is an error."""
    with pytest.raises(ServerError, match="too long") as caught:
        reply_of(response, request())
    assert caught.value.status == status


@pytest.mark.parametrize("response", [None, [], "<html>", {}, {"choices": []}, {"choices": [1]}])
def test_a_response_of_another_shape_is_an_error(response: Any) -> None:
    """It never counts as an empty reply."""
    with pytest.raises(GenerationError):
        reply_of(response, request())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rest", ["", "\n````\n# Query:\nMore", " And more."])
def test_valid_json_is_the_reply(kind: str, rest: str) -> None:
    """Text after the value is truncated, and a value of another type is repaired."""
    for written, a in (('{"a": 3}', 3), ('{"a": "4"}', 4)):
        reply = reply_of(responded(written + rest), request(response_format=SCHEMA), DIALECTS[kind])
        assert json.loads(reply.text) == {"a": a}
        assert reply.end.usage is not None
        assert reply.end.usage.cached_tokens == 64


@pytest.mark.parametrize(
    ("written", "finish", "message"),
    [
        ('{"a": ', "length", "cut at max_tokens"),
        ('{"a": "x"}', "stop", "does not match its schema: a: "),
        ("No.", "stop", "not complete JSON"),
        ("", "stop", "not complete JSON"),
    ],
)
def test_invalid_json_is_an_error_with_the_text(written: str, finish: str, message: str) -> None:
    """Text that an application could not use never becomes a reply."""
    with pytest.raises(GenerationError, match=message) as caught:
        reply_of(responded(written, finish), request(response_format=SCHEMA))
    assert caught.value.text == written.strip()


@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_cut_json_is_an_error(dialect: Dialect) -> None:
    """Its missing members never become the smallest valid values."""
    with pytest.raises(GenerationError, match="cut at max_tokens") as caught:
        reply_of(responded('{"a": ', "length"), request(response_format=SCHEMA), dialect)
    assert caught.value.text == '{"a":'


def test_json_continues_a_prefill() -> None:
    """With a prefill in the prompt, the reply is the rest."""
    messages = [*MESSAGES, Message("assistant", '{"a":')]
    composed = compose(PROMPT, messages, prefill=True, response_format=SCHEMA)
    assert reply_of(responded(" 3}"), composed, VLLM).text == " 3}"


def test_json_behind_a_prefill_is_not_repaired() -> None:
    """The prefill stays as it was given, so the value must match as it is written."""
    messages = [*MESSAGES, Message("assistant", '{"n": "')]
    composed = compose(PROMPT, messages, prefill=True, response_format=SCHEMA)
    with pytest.raises(GenerationError, match="does not match its schema"):
        reply_of(responded('4"}'), composed)


def test_replies_with_tools_are_refused() -> None:
    """Such a reply takes several requests, and the error says so."""
    tool = Tool(name="f", description="F.", parameters='{"type": "object"}')
    with pytest.raises(ConversationError, match="several requests"):
        reply_of(responded("Hello"), request(tools=ToolUse((tool,))), VLLM)


def test_a_value_is_strict_json() -> None:
    """A line break in a string is repaired, and a number outside of JSON is refused."""
    text = JsonSchema.of({"type": "object", "properties": {"a": {"type": "string"}}})
    assert (
        reply_of(responded('{"a": "b\nc"}'), request(response_format=text)).text == '{"a": "b\\nc"}'
    )
    with pytest.raises(GenerationError, match="NaN is no number"):
        reply_of(responded('{"a": NaN}'), request(response_format=SCHEMA))
