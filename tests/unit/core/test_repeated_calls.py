"""A call of which the conversation has the result is not made again: something else is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from urial_core import Message, Prompt, Reply, ReplyEnd, Tool, ToolCall, ToolUse, UrialChat
from urial_core.completion import ModelFeatures
from urial_core.prompts.tool_examples import ToolExamples
from urial_core.replies import TextDelta, ToolCallDelta
from urial_core.testing import FakeModel

ENFORCING = ModelFeatures(enforces_choices=True, enforces_json=True)
PROMPT = Prompt(name="tiny", instruction="Be kind.", tool_examples=ToolExamples("", (), ()))
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolUse((Tool.of("get_weather", "The weather.", CITY),))
CALL, END, NO_MORE = "# Tool call:\n````\n", "\n````\n", "\n````\n\n# Tool result:"
ANOTHER = '\n{"name":'
LYON = '{"name": "get_weather", "arguments": {"city": "Lyon"}}'
NICE = '{"name": "get_weather", "arguments": {"city": "Nice"}}'
LYONS = '{"name": "get_weather", "arguments": {"city": "Lyons"}}'

ASKED = Message("user", "Rain in Lyon?")
CALLED = Message("assistant", tool_calls=(ToolCall("get_weather", '{"city": "Lyon"}', "1"),))
RESULT = Message("tool", "Cloudy.", tool_call_id="1")
EXCHANGE = (ASKED, CALLED, RESULT)


def replies(
    messages: Sequence[Message], *responses: str, constrained: bool, use: ToolUse = WEATHER
) -> tuple[Reply, list[TextDelta | ToolCallDelta | ReplyEnd]]:
    """Return the reply of a fake model, and the events of the same as a stream."""
    features = ENFORCING if constrained else None
    whole, streamed = (
        UrialChat(FakeModel(*responses, features=features), PROMPT) for _ in range(2)
    )
    request = whole.request(messages, tools=use)
    return whole.reply([request])[0], list(streamed.stream(request))


def responses(*calls: str, constrained: bool) -> tuple[str, ...]:
    """Return what a model writes that makes these calls and no other."""
    if not constrained:
        return (CALL + "\n".join(calls) + END,)
    first, *others = calls
    return (CALL, first, *(part for call in others for part in (ANOTHER, call)), NO_MORE)


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("arguments", ['{"city": "Lyon"}', '{ "city":"Lyon"}'])
def test_the_answer_is_written_instead(arguments: str, *, constrained: bool) -> None:
    """Nothing of the repeated call is emitted, and an agent's loop ends with the answer."""
    called = Message("assistant", tool_calls=(ToolCall("get_weather", arguments, "1"),))
    messages = (ASKED, called, RESULT)
    repeated = responses(LYON, constrained=constrained)
    reply, events = replies(messages, *repeated, f"No rain.{END}", constrained=constrained)
    assert (reply.text, reply.tool_calls, reply.end.reason) == ("No rain.", (), "delimiter")
    assert not any(isinstance(event, ToolCallDelta) for event in events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "No rain."


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(
    ("calls", "made"),
    [
        ([LYON, NICE], [NICE]),
        ([NICE, LYON, LYONS], [NICE, LYONS]),
        ([NICE, NICE, LYONS], [NICE, LYONS]),
        ([LYON, NICE, LYON, LYONS, LYON], [NICE, LYONS]),
        ([NICE, LYONS, NICE, LYONS], [NICE, LYONS]),
        ([NICE, NICE, NICE[:30]], [NICE]),
    ],
)
def test_new_calls_beside_a_repetition_are_made(
    calls: list[str], made: list[str], *, constrained: bool
) -> None:
    """Repetitions are left out wherever they stand; the new calls before and behind are made.

    What is invalid behind a repetition is no call that anyone meant.
    """
    written = responses(*calls, constrained=constrained)
    reply, events = replies(EXCHANGE, *written, constrained=constrained)
    assert [call.line for call in reply.tool_calls] == made
    assert reply.end.invalid_tool_calls == ()
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert sorted({delta.index for delta in deltas}) == list(range(len(made)))
    assert "".join(delta.arguments for delta in deltas) == "".join(
        call.arguments for call in reply.tool_calls
    )


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(
    ("circle", "read", "made"),
    [([LYON], 2, []), ([NICE], 3, [NICE]), ([NICE, LYONS], 5, [NICE, LYONS])],
)
def test_a_model_that_goes_round_in_circles_is_stopped(
    circle: list[str], read: int, made: list[str], *, constrained: bool
) -> None:
    """A repetition that is written twice, with no new call between, ends the calls."""
    answer = () if made else (f"No rain.{END}",)
    if constrained:
        written = *responses(*(circle * 5)[:read], constrained=True)[:-1], *answer
        model = FakeModel(*written, features=ENFORCING)
    else:
        model = FakeModel([CALL, *(f"{call}\n" for call in circle * 5)], *answer)
    chat = UrialChat(model, PROMPT)
    events = list(chat.stream(chat.request(EXCHANGE, tools=WEATHER)))
    assert len({event.id for event in events if isinstance(event, ToolCallDelta)}) == len(made)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == ("" if made else "No rain.")
    assert model.chunks_sent == (2 * read if constrained else 1 + read) + len(answer)


@pytest.mark.parametrize(
    "between", [Message("assistant", " ", name="alice"), replace(CALLED, text="I look again.")]
)
def test_only_a_message_of_its_own_separates_calls(between: Message) -> None:
    """A text beside further calls leaves a call answered, as a message without text does."""
    written = f"{CALL}{LYON}{END}", f"No rain.{END}"
    reply, _ = replies((*EXCHANGE, between), *written, constrained=False)
    assert (reply.text, reply.tool_calls) == ("No rain.", ())


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("failures", [1, 2])
def test_a_call_that_failed_is_made_once_more(failures: int, *, constrained: bool) -> None:
    """A tool may work the second time; after that, the answer is written."""
    failed = (CALLED, replace(RESULT, failed=True)) * failures
    written = *responses(LYON, constrained=constrained), f"No rain.{END}"
    reply, _ = replies((ASKED, *failed), *written, constrained=constrained)
    assert [call.name for call in reply.tool_calls] == ["get_weather"] * (failures == 1)
    assert reply.text == ("No rain." if failures > 1 else "")


@pytest.mark.parametrize("live", [False, True])
def test_order_and_digits_make_no_other_call(*, live: bool) -> None:
    """Arguments are compared as values, also where they would be streamed as they are written."""
    numbers = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "boolean"}}}
    use = ToolUse((Tool.of("f", "Does it.", numbers),))
    call = ToolCall("f", '{"b": true, "a": 1}', "1")
    messages = (ASKED, Message("assistant", tool_calls=(call,)), RESULT)
    again = (CALL, '{"name": "f", "arguments": {"a": 1.0, "b": true}}', NO_MORE, f"Done.{END}")
    reply, events = replies(messages, *again, constrained=True, use=use)
    assert not (any(isinstance(e, ToolCallDelta) for e in events) if live else reply.tool_calls)
    assert not call.repeats(ToolCall("f", '{"a": 1, "b": 1}'))


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("call", [NICE, LYONS])
def test_other_arguments_are_another_call(call: str, *, constrained: bool) -> None:
    """A call that begins like an answered one, and goes on otherwise, is made and streamed."""
    reply, events = replies(
        EXCHANGE, *responses(call, constrained=constrained), constrained=constrained
    )
    assert [made.line for made in reply.tool_calls] == [call]
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert "".join(delta.arguments for delta in deltas) == reply.tool_calls[0].arguments


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize(
    ("messages", "use"),
    [
        ((*EXCHANGE, Message("assistant", "No."), Message("user", "And now?")), WEATHER),
        ((*EXCHANGE, Message("assistant", "I wait.", name="alice")), WEATHER),
        ((ASKED, CALLED), WEATHER),
        ((ASKED, CALLED, replace(RESULT, text="[cleared]", cleared=True)), WEATHER),
        (EXCHANGE, replace(WEATHER, choice="required")),
    ],
    ids=["asked again", "behind an answer", "no result", "cleared", "required"],
)
def test_the_same_call_is_made_where_it_is_new(
    messages: Sequence[Message], use: ToolUse, *, constrained: bool
) -> None:
    """Behind a new message, without its result, or if required, a call may repeat one."""
    written = responses(LYON, constrained=constrained)
    if use.must_call:
        written = (LYON, NO_MORE) if constrained else (' {"city": "Lyon"}}',)
    reply, _ = replies(messages, *written, constrained=constrained, use=use)
    assert [made.line for made in reply.tool_calls] == [LYON]


@pytest.mark.parametrize("constrained", [True, False])
def test_a_required_call_is_another_tools(*, constrained: bool) -> None:
    """Where a call is required, a repeated one gives way to one of the tools not called so far."""
    final = Tool.of("answer", "The answer.", {"type": "object", "properties": {}})
    use = ToolUse((*WEATHER.tools, final), choice="required")
    written = ('{"name": "answer", "arguments": {}}', NO_MORE) if constrained else (" {}}",)
    repeated = (LYON, NO_MORE) if constrained else (LYON.removeprefix('{"name":'),)
    reply, events = replies(EXCHANGE, *repeated, *written, constrained=constrained, use=use)
    assert [call.name for call in reply.tool_calls] == ["answer"]
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert {delta.name for delta in deltas} - {""} == {"answer"}
