"""Replies that ``max_tokens`` cut, and those that took a second attempt, say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from urial_core import (
    CompletionChunk,
    GenerationParameters,
    JsonSchema,
    Message,
    ModelFeatures,
    Prompt,
    Reply,
    ReplyEnd,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    ToolUse,
    UrialChat,
    Usage,
)
from urial_core.call import response_metadata
from urial_core.prompts.tool_examples import ToolExamples
from urial_core.testing import FakeModel

ENFORCING = ModelFeatures(enforces_choices=True, enforces_json=True)
PROMPT = Prompt(name="tiny", instruction="Be kind.", tool_examples=ToolExamples("", (), ()))
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = Tool.of("write", "Write a city.", CITY)
MUST = ToolUse((TOOL,), choice="required")
LYON = '{"name": "write", "arguments": {"city": "Lyon"}}'
ANOTHER = '\n{"name":'
ANSWER, CALL, END = "# Answer:\n````\n", "# Tool call:\n````\n", "\n````\n"


def closed(*pieces: str, closing: str) -> list[CompletionChunk]:
    """Return the chunks of a text that the engine closed at ``max_tokens``."""
    chunks = [CompletionChunk(piece) for piece in pieces]
    return [*chunks, CompletionChunk(closing, finish="length", closing=closing)]


def ask(way: str, *responses: Any, features: ModelFeatures = ENFORCING, **more: Any) -> Reply:
    """Ask for a reply, whole or from a stream's events."""
    chat = UrialChat(FakeModel(*responses, features=features), PROMPT)
    request = chat.request([Message("user", "Where?")], GenerationParameters(seed=1), **more)
    if way == "whole":
        return chat.reply([request])[0]
    events = list(chat.stream(request))
    return from_events(events)


def from_events(events: Sequence[TextDelta | ToolCallDelta | ReplyEnd]) -> Reply:
    """Return what a stream's events hold, without its calls."""
    end = events[-1]
    assert isinstance(end, ReplyEnd)
    return Reply("".join(event.text for event in events if isinstance(event, TextDelta)), end)


@pytest.mark.parametrize("way", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("pieces", "closing"), [(['{"city": "Pa', "r"], '"}'), (['{"city": "Par"'], "}"), ([], '""')]
)
def test_json_that_was_closed_is_cut(way: str, pieces: list[str], closing: str) -> None:
    """The reply is what the model wrote, and "length" ends it, so that no parser takes it."""
    reply = ask(way, closed(*pieces, closing=closing), response_format=JsonSchema.of(CITY))
    assert reply.text == "".join(pieces)
    assert reply.end.finish_reason == reply.end.reason == "length"
    assert reply.end.validation_error


def test_json_that_ended_with_the_last_token_is_whole() -> None:
    """An engine may report "length" for a value that is complete."""
    chunk = CompletionChunk('{"city": "Paris"}', finish="length")
    for way in ("whole", "streamed"):
        reply = ask(way, [chunk], response_format=JsonSchema.of(CITY))
        assert (reply.text, reply.end.finish_reason) == (chunk.text, "stop")


@pytest.mark.parametrize("way", ["whole", "streamed"])
@pytest.mark.parametrize("enforced", [True, False])
def test_a_call_that_was_cut_is_invalid(way: str, enforced: bool) -> None:
    """It is no call that an agent could try, and its error names ``max_tokens``."""
    start = '{"name": "write", "arguments": {"city": "Ly'
    if enforced:
        reply = ask(way, closed(start, closing='"}}'), tools=MUST)
    else:
        rest = start.removeprefix('{"name": "write", "arguments":')
        response = [CompletionChunk(rest, finish="length")]
        reply = ask(way, response, tools=MUST, features=ModelFeatures())
    [invalid] = reply.end.invalid_tool_calls
    assert (invalid.name, invalid.text, invalid.attempt) == ("write", '{"city": "Ly', None)
    assert "max_tokens ran out" in invalid.error
    assert reply.tool_calls == ()
    assert reply.end.finish_reason == "length"


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_call_of_which_the_last_brace_is_missing_is_whole(way: str) -> None:
    """Nothing of its arguments was cut."""
    reply = ask(way, closed(LYON[:-1], closing="}"), tools=MUST)
    assert reply.end.finish_reason == "tool_calls"
    assert reply.end.invalid_tool_calls == ()
    if way == "whole":
        assert [call.values for call in reply.tool_calls] == [{"city": "Lyon"}]


def test_a_call_without_arguments_is_cut() -> None:
    """A name alone makes no call with empty arguments."""
    reply = ask("whole", closed('{"name": "write"', closing=', "arguments": {}}'), tools=MUST)
    assert (reply.tool_calls, reply.end.finish_reason) == ((), "length")


def test_a_call_that_is_nested_too_deeply_is_cut() -> None:
    """Whether it was whole cannot be read, and that is no error of Python's."""
    response = [CompletionChunk(' {"city": ' + "[" * 20_000, finish="length")]
    reply = ask("whole", response, tools=MUST, features=ModelFeatures())
    assert (len(reply.end.invalid_tool_calls), reply.end.finish_reason) == (1, "length")


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_an_engine_that_ran_on_behind_a_call_did_not_cut_it(way: str) -> None:
    """An invalid call that ended is retried, whatever limit the engine reached behind it."""
    first = [
        CompletionChunk(' {"town": "x"}}\n````\n'),
        CompletionChunk("\n# Query:\n````\nmore", finish="length"),
    ]
    responses = [first, [CompletionChunk(' {"city": "Lyon"}}\n````\n')]]
    reply = ask(way, *responses, tools=MUST, features=ModelFeatures())
    assert (reply.end.finish_reason, reply.end.attempts) == ("tool_calls", 2)
    assert reply.end.invalid_tool_calls == ()


@pytest.mark.parametrize("second", ["cut", "nothing"])
def test_finished_calls_are_kept_when_another_does_not_fit(second: str) -> None:
    """The first call stays, and the end says that a second one was begun."""
    pieces = ['{"name": "write", "arguments": {"city": "Ni'] if second == "cut" else []
    responses = [[LYON], [ANOTHER], closed(*pieces, closing='"}}')]
    reply = ask("whole", *responses, tools=MUST)
    assert [call.values for call in reply.tool_calls] == [{"city": "Lyon"}]
    assert reply.end.finish_reason == "length"
    assert len(reply.end.invalid_tool_calls) == (second == "cut")


def test_a_streamed_call_that_was_cut_is_marked() -> None:
    """What was emitted of it belongs to the call that the end reports as invalid."""
    chat = UrialChat(
        FakeModel(
            closed('{"name": "write", "arguments": {"ci', 'ty": "L', closing='"}}'),
            features=ENFORCING,
        ),
        PROMPT,
    )
    *deltas, end = chat.stream(chat.request([Message("user", "Where?")], tools=MUST))
    assert isinstance(end, ReplyEnd)
    [invalid] = end.invalid_tool_calls
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert {(call.id, call.index) for call in calls} == {(invalid.id, invalid.index)}
    assert "".join(call.arguments for call in calls) == invalid.text


@pytest.mark.parametrize("way", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("responses", "more"),
    [
        ([END, f"Lyon.{END}"], {}),
        (['"x": 1}', '"city": "Lyon"}'], {"response_format": JsonSchema.of(CITY)}),
        ([' {"x": 1}}', ' {"city": "Lyon"}}'], {"tools": MUST}),
        ([f"{ANSWER}{END}", f"Lyon.{END}"], {"tools": ToolUse((TOOL,))}),
    ],
)
def test_a_second_attempt_shows(way: str, responses: list[str], more: dict[str, Any]) -> None:
    """Its number is in the metadata; a first attempt that holds leaves nothing there."""
    reply = ask(way, *responses, features=ModelFeatures(), **more)
    request = UrialChat(FakeModel(), PROMPT).request([Message("user", "Where?")])
    assert response_metadata(reply.end, request)["attempts"] == 2
    single = replace(reply.end, attempts=1)
    assert "attempts" not in response_metadata(single, request)


def test_no_second_attempt_without_tokens_for_it() -> None:
    """Where the first attempt has filled the window, it stays, rather than an overflow."""
    words = " ".join(["x"] * 40)
    model = FakeModel(f'"city": {words}{END}', context_window=90)
    chat = UrialChat(model, PROMPT)
    request = chat.request(
        [Message("user", "Where?")],
        GenerationParameters(max_tokens=45),
        response_format=JsonSchema.of(CITY),
    )
    reply = chat.reply([request])[0]
    assert reply.end.validation_error
    assert reply.end.attempts == len(model.requests) == 1


class Untold(FakeModel):
    """Fake without a tokenizer that reports the usage of its first completion alone."""

    @property
    def tokenizer(self) -> Any:
        return None

    def complete(self, requests: Any) -> list[Any]:
        usage = Usage(7, 3) if not self.requests else None
        return [replace(done, usage=usage) for done in super().complete(requests)]


def test_usage_is_unknown_where_that_of_a_step_is() -> None:
    """A sum of some steps is no usage of the reply."""
    for responses in ((END, f"Lyon.{END}"), (LYON, ANOTHER, LYON)):
        chat = UrialChat(Untold(*responses, features=ENFORCING), PROMPT)
        tools = MUST if len(responses) > 2 else None
        [reply] = chat.reply([chat.request([Message("user", "Where?")], tools=tools)])
        assert reply.end.usage is None


@pytest.mark.parametrize("value", [float("-inf"), float("nan"), float("inf")])
def test_log_probabilities_are_numbers_in_json(value: float) -> None:
    """What JSON cannot hold counts as very unlikely, as in the OpenAI API."""
    logprob = TokenLogprob("a", value, (("b", -0.5), ("a", value)))
    assert logprob == TokenLogprob("a", -9999.0, (("b", -0.5), ("a", -9999.0)))
