"""Replies with tools: decided, written and checked the same way however the text comes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from adversarial import cut, many, prompt_formats, sizes
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    Choice,
    CompletionChunk,
    CompletionRequest,
    GenerationParameters,
    JsonSchema,
    Message,
    Prompt,
    PromptFormat,
    Reply,
    ReplyEnd,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    ToolUse,
    UnsupportedSchemaError,
    UrialChat,
    Usage,
)
from urial_core.completion import ModelFeatures
from urial_core.decoding.tool_calls import call_schema
from urial_core.prompts.tool_examples import ToolExamples
from urial_core.testing import FakeModel

ENFORCING = ModelFeatures(enforces_choices=True, enforces_json=True)
PROMPT = Prompt(name="tiny", instruction="Be kind.", tool_examples=ToolExamples("", (), ()))
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
WEATHER = Tool.of("get_weather", "The weather.", CITY)
DOUBLE = Tool.of("double", "Twice a number.", NUMBER)
BOTH = ToolUse((WEATHER, DOUBLE))
ONE = ToolUse((WEATHER,))
ANSWER, CALL, END = "# Answer:\n````\n", "# Tool call:\n````\n", "\n````\n"
LYON = '{"name": "get_weather", "arguments": {"city": "Lyon"}}'
NICE = '{"name": "get_weather", "arguments": {"city": "Nice"}}'
NO_MORE = "\n````\n\n# Tool result:"

Summary = tuple[str, list[tuple[str, Any]], list[str | None], str]


def chat_of(*scripts: Iterable[str] | str, held: bool = False) -> UrialChat:
    """A chat with a scripted model, which says that it holds to constraints, or not."""
    return UrialChat(FakeModel(*scripts, features=ENFORCING if held else None), PROMPT)


def request_of(chat: UrialChat, use: ToolUse | None, **more: Any) -> CompletionRequest:
    """Ask something."""
    return chat.request([Message("user", "Rain in Lyon?")], tools=use, **more)


def model_of(chat: UrialChat) -> FakeModel:
    """The chat's model."""
    assert isinstance(chat.model, FakeModel)
    return chat.model


def summary_of(reply: Reply) -> Summary:
    """What a reply says and asks for, without ids."""
    calls = [(call.name, call.values) for call in reply.tool_calls]
    return reply.text, calls, [bad.name for bad in reply.end.invalid_tool_calls], reply.end.reason


def summary_of_stream(events: Sequence[TextDelta | ToolCallDelta | ReplyEnd]) -> Summary:
    """The same of a stream's events; calls that cannot be made are left out of the calls."""
    end = events[-1]
    assert isinstance(end, ReplyEnd)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    invalid = {bad.id for bad in end.invalid_tool_calls}
    names, arguments = dict[str, str](), dict[str, str]()
    for event in events:
        if isinstance(event, ToolCallDelta) and event.id not in invalid:
            assert bool(event.name) == (event.id not in names)
            names[event.id] = names.get(event.id, event.name)
            assert event.index == list(names).index(event.id)
            arguments[event.id] = arguments.get(event.id, "") + event.arguments
    calls = [(names[call], json.loads(arguments[call])) for call in names]
    return text, calls, [bad.name for bad in end.invalid_tool_calls], end.reason


def ask(use: ToolUse | None, *scripts: str, held: bool = False, **more: Any) -> Summary:
    """Get a reply, whole and as a stream, which must agree."""
    chat = chat_of(*scripts, held=held)
    whole = summary_of(chat.reply([request_of(chat, use, **more)])[0])
    chat = chat_of(*scripts, held=held)
    assert summary_of_stream(list(chat.stream(request_of(chat, use, **more)))) == whole
    return whole


CASES: dict[str, tuple[ToolUse, bool, list[str], Summary]] = {
    "answer": (BOTH, False, [f"{ANSWER}Yes.{END}\n# Query:"], ("Yes.", [], [], "delimiter")),
    "answer without a header": (BOTH, False, ["Yes."], ("Yes.", [], [], "end_of_text")),
    "answer beside its header": (BOTH, False, ["# Answer: Yes."], ("Yes.", [], [], "end_of_text")),
    "answer with code": (
        BOTH,
        False,
        [f"{ANSWER}```\nx\n```\n# Tool calls{END}"],
        ("```\nx\n```\n# Tool calls", [], [], "delimiter"),
    ),
    "blank answer": (BOTH, False, [f"{ANSWER}{END}", f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
    "another section": (BOTH, False, ["# Query:\n", f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
    "call": (
        BOTH,
        False,
        [f"{CALL}{LYON}{END}\n# Tool result:\nmade up"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "call without a fence": (
        BOTH,
        False,
        [f"\n# Tool call:\n{LYON}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "two calls": (
        BOTH,
        False,
        [f"{CALL}{LYON}\n{NICE}{END}"],
        (
            "",
            [("get_weather", {"city": "Lyon"}), ("get_weather", {"city": "Nice"})],
            [],
            "tool_calls",
        ),
    ),
    "one of two": (
        replace(BOTH, parallel=False),
        False,
        [f"{CALL}{LYON}\n{NICE}{END}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "the same again": (
        BOTH,
        False,
        [f"{CALL}{LYON}\n{LYON}\n{NICE}{END}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "spread over lines": (
        BOTH,
        False,
        [CALL + json.dumps(json.loads(LYON), indent=2) + END],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "another type": (
        BOTH,
        False,
        [f'{CALL}{{"name": "double", "arguments": {{"n": "4"}}}}{END}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "mended": (
        BOTH,
        False,
        [f'{CALL}{{"name": "double", "arguments": {{}}}}{END}', f' {{"n": 4}}}}{END}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "unknown tool, mended": (
        BOTH,
        False,
        [f'{CALL}{{"name": "dobule", "arguments": {{}}}}', ' "double", "arguments": {"n": 4}}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "no JSON, not mended": (
        BOTH,
        False,
        [f"{CALL}double(4){END}", f' "triple"}}{END}'],
        ("", [], ["triple"], "tool_calls"),
    ),
    "the second is wrong": (
        BOTH,
        False,
        [f'{CALL}{LYON}\n{{"name": "double"}}{END}', ' {"n": 4}}'],
        ("", [("get_weather", {"city": "Lyon"}), ("double", {"n": 4})], [], "tool_calls"),
    ),
    "required": (
        replace(ONE, choice="required"),
        False,
        [f' {{"city": "Lyon"}}}}{END}'],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "required of two": (
        replace(BOTH, choice="required"),
        False,
        [f' "double", "arguments": {{"n": 4}}}}{END}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "forced": (
        replace(BOTH, forced="double"),
        False,
        [f' {{"n": 4}}}}{END}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "required, never": (
        replace(ONE, choice="required"),
        False,
        [f"{END}", f"{END}"],
        ("", [], [None], "tool_calls"),
    ),
    "none": (replace(BOTH, choice="none"), False, [f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
    "held: answer": (BOTH, True, [ANSWER, f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
    "held: call": (
        ONE,
        True,
        [CALL, LYON, NO_MORE],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "held: which tool": (
        replace(BOTH, choice="required", parallel=False),
        True,
        ['{"name": "double", "arguments": {"n": 4}}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "held: two calls": (
        ONE,
        True,
        [CALL, LYON, '\n{"name":', NICE, NO_MORE],
        (
            "",
            [("get_weather", {"city": "Lyon"}), ("get_weather", {"city": "Nice"})],
            [],
            "tool_calls",
        ),
    ),
    "held: the same again": (
        ONE,
        True,
        [CALL, LYON, '\n{"name":', LYON],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "said to hold, but writes on": (
        replace(ONE, parallel=False),
        True,
        [f"{CALL}{LYON}{END}\n# Tool result:\n"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "said to hold, but does not": (
        replace(ONE, parallel=False),
        True,
        [CALL, "get_weather(Lyon)", ' {"city": "Lyon"}}'],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "said to hold, but chooses nothing": (
        replace(ONE, parallel=False),
        True,
        ["Well", f"{CALL}{LYON}{END}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "said to hold, but answers at once": (
        ONE,
        True,
        [f"{ANSWER}Yes, in Lyon.{END}"],
        ("Yes, in Lyon.", [], [], "delimiter"),
    ),
    "said to hold, but does not say whether to go on": (
        ONE,
        True,
        [CALL, LYON, f"\n{NICE}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_replies(case: str) -> None:
    """Each way to reply comes out right, whole and streamed."""
    use, held, scripts, expected = CASES[case]
    assert ask(use, *scripts, held=held) == expected


@many
@given(st.sampled_from(sorted(CASES)), sizes, st.booleans())
def test_any_split_gives_the_same_reply(case: str, lengths: list[int], echo: bool) -> None:
    """How the text is cut into pieces makes no difference, nor an echo of the page."""
    use, held, scripts, expected = CASES[case]
    page = request_of(chat_of(), use).prompt if echo and not use.must_call else ""
    first, *others = scripts
    chat = chat_of(*(cut(text, lengths) for text in [page + first, *others]), held=held)
    events = list(chat.stream(request_of(chat, use)))
    assert summary_of_stream(events) == expected
    assert not any(event.text == "" for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("case", CASES)
async def test_async_is_the_same(case: str) -> None:
    """The async methods give the same replies."""
    use, held, scripts, expected = CASES[case]
    chat = chat_of(*scripts, held=held)
    assert summary_of((await chat.areply([request_of(chat, use)]))[0]) == expected
    chat = chat_of(*scripts, held=held)
    events = [event async for event in chat.astream(request_of(chat, use))]
    assert summary_of_stream(events) == expected


@many
@given(prompt_formats, st.text(max_size=30), sizes)
def test_arguments_of_any_text(prompt_format: PromptFormat, said: str, lengths: list[int]) -> None:
    """Any text comes through as an argument, in any format, and never as text of the reply."""
    call = json.dumps({"name": "get_weather", "arguments": {"city": said}}, ensure_ascii=False)
    opened = prompt_format.open_turn("call").removeprefix(prompt_format.separator)
    script = cut(
        f"{opened}{call}{prompt_format.turn_end}{prompt_format.separator}{prompt_format.tool_header}\n",
        lengths,
    )
    chat = UrialChat(FakeModel(script), replace(PROMPT, format=prompt_format))
    expected = ("", [("get_weather", {"city": said})], [], "tool_calls")
    assert summary_of_stream(list(chat.stream(request_of(chat, ONE)))) == expected


@many
@given(st.text(alphabet='#Tol calAnswer:\n`{}"\\', max_size=40), sizes)
def test_no_text_breaks_it(text: str, lengths: list[int]) -> None:
    """Whatever a model writes, the reply has an end, and text, calls, or what is wrong with one."""
    chat = chat_of(cut(text, lengths) or [""], "more text")
    reply, calls, invalid, _ = summary_of_stream(list(chat.stream(request_of(chat, ONE))))
    assert reply or calls or invalid
    assert not reply.startswith(("# Answer:\n", "# Tool call:\n"))


def test_arguments_stream_as_they_are_written() -> None:
    """A model held to the form has its arguments given out piece by piece."""
    pieces = ['{"name": "get_weather", "arg', 'uments": {"ci', 'ty": "Ly', 'on"}}']
    chat = chat_of(CALL, pieces, NO_MORE, held=True)
    events = list(chat.stream(request_of(chat, ONE)))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [delta.arguments for delta in deltas] == ['{"ci', 'ty": "Ly', 'on"}']
    assert [delta.name for delta in deltas] == ["get_weather", "", ""]


PARIS = '{"name": "get_weather", "arguments": {"town": "Paris"}}'


def test_a_wrong_call_that_was_given_out() -> None:
    """Arguments given out while they were written are not written anew: the end names the call."""
    chat = chat_of(CALL, PARIS, f' {{"city": "Lyon"}}}}{END}', held=True)
    summary = summary_of_stream(list(chat.stream(request_of(chat, replace(ONE, parallel=False)))))
    assert summary == ("", [], ["get_weather"], "tool_calls")
    assert len(model_of(chat).requests) == 2


@pytest.mark.parametrize(
    ("second", "calls", "invalid"),
    [
        (f' {{"city": "Lyon"}}}}{END}', [("get_weather", {"city": "Lyon"})], []),
        (f' {{"town": "Lyon"}}}}{END}', [], ["get_weather"]),
    ],
)
def test_a_wrong_call_of_a_whole_reply(second: str, calls: Any, invalid: Any) -> None:
    """Nobody has seen it: it is written anew once, whoever says that it holds to its form."""
    chat = chat_of(CALL, PARIS, second, held=True)
    [reply] = chat.reply([request_of(chat, replace(ONE, parallel=False))])
    assert summary_of(reply) == ("", calls, invalid, "tool_calls")


def test_a_choice_is_one_of_its_options_to_the_letter() -> None:
    """A completion that only begins as an option did not choose it: header and text come freely."""
    chat = chat_of([ANSWER, "Yes", ", it", " rains"], f"{ANSWER}Yes.{END}", held=True)
    events = list(chat.stream(request_of(chat, ONE)))
    assert summary_of_stream(events) == ("Yes.", [], [], "delimiter")
    chosen, freely = model_of(chat).requests
    assert isinstance(chosen.constraint, Choice)
    assert freely == replace(chosen, constraint=None)
    assert model_of(chat).chunks_sent == 3


def test_the_model_is_stopped_at_the_closing_brace() -> None:
    """With one call allowed, nothing is generated behind it."""
    chat = chat_of([CALL, LYON, "\n", "and", "on"])
    list(chat.stream(request_of(chat, replace(ONE, parallel=False))))
    assert model_of(chat).chunks_sent == 2


def test_the_steps_of_a_held_call() -> None:
    """A held model chooses header, call and whether to go on, each by a constraint."""
    chat = chat_of(CALL, LYON, NO_MORE, held=True)
    first = request_of(chat, BOTH)
    chat.reply([first])
    decided, called, gone_on = model_of(chat).requests
    assert isinstance(decided.constraint, Choice)
    assert called.constraint == call_schema(BOTH.tools)
    assert gone_on.constraint == Choice((NO_MORE, '\n{"name":'))
    assert called.prompt == first.prompt + CALL
    assert gone_on.prompt == first.prompt + CALL + LYON
    assert called.prefix_length == gone_on.prefix_length == first.prefix_length


def test_json_is_not_penalised() -> None:
    """Where a call is written, penalties and the user's stop strings are off."""
    chat = chat_of(' {"city": "Lyon"}}')
    parameters = GenerationParameters(repetition_penalty=1.3, presence_penalty=1.0, stop=("{",))
    request = request_of(chat, replace(ONE, choice="required"), parameters=parameters)
    assert chat.reply([request])[0].tool_calls
    asked = model_of(chat).requests[0]
    assert asked.parameters.repetition_penalty == 1.0
    assert asked.parameters.presence_penalty == 0.0
    assert asked.parameters.temperature == 0.0
    assert asked.parameters.stop == ()
    assert "{" not in asked.stop


def test_a_user_s_stop_ends_an_answer() -> None:
    """The user's stop strings hold for an answer, not for its header."""
    parameters = GenerationParameters(stop=("# A", "z"))
    summary = ask(BOTH, f"{ANSWER}It razes{END}", parameters=parameters)
    assert summary == ("It ra", [], [], "stop_string")


def test_mending_shows_what_was_wrong() -> None:
    """The second time, the page holds the call and the error, as a failed result."""
    chat = chat_of(f'{CALL}{{"name": "double", "arguments": {{}}}}{END}', ' {"n": 4}}')
    chat.reply([request_of(chat, BOTH)])
    first, second = model_of(chat).requests
    behind = second.prompt.removeprefix(first.prompt)
    assert behind == (
        '# Tool call:\n````\n{"name": "double", "arguments": {}}\n````\n'
        "\n# Tool result:\n````\ndouble (error)\n"
        "The arguments are wrong: 'n' is a required property.\n````\n"
        '\n# Tool call:\n````\n{"name": "double", "arguments":'
    )


def test_usage_counts_the_page_once() -> None:
    """Tokens of the page count once, tokens written add up over the steps."""
    chat = chat_of(CALL, LYON, NO_MORE, held=True)
    request = request_of(chat, ONE)
    usage = chat.reply([request])[0].end.usage
    assert usage is not None
    assert usage.input_tokens == len(request.prompt.split())
    assert usage.output_tokens == sum(len(text.split()) for text in (CALL, LYON, NO_MORE))


def test_tokens_left() -> None:
    """Each step may write what the last ones have left; a call cut off is not mended."""
    parameters = GenerationParameters(max_tokens=30)
    chat = chat_of(CALL, LYON, held=True)
    chat.reply([request_of(chat, replace(ONE, parallel=False), parameters=parameters)])
    spent = len(CALL.split())
    limits = [request.max_tokens for request in model_of(chat).requests]
    assert limits == [30, 30 - spent]


class Biased(FakeModel):
    """Scores choices: prefers a call by so much where the query holds a word."""

    def __init__(self, **biases: float) -> None:
        super().__init__(f"Yes.{END}", features=replace(ENFORCING, scores_choices=True))
        self.biases = biases

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        return [self._chosen(request) for request in requests]

    def _chosen(self, request: CompletionRequest) -> CompletionChunk:
        self.requests.append(request)
        if not isinstance(request.constraint, Choice):
            return CompletionChunk(LYON if request.constraint else "Yes.", finish="stop")
        bias = next(by for word, by in self.biases.items() if word in request.prompt)
        scores = dict(zip(request.constraint.options, (0.0, bias), strict=True))
        biases = dict(zip(scores, request.constraint.biases or (0.0, 0.0), strict=True))
        best = max(scores, key=lambda option: scores[option] + biases[option])
        logprob = TokenLogprob(best, scores[best], tuple(scores.items()))
        return CompletionChunk(best, "stop", Usage(len(request.prompt), 1), (logprob,))


@pytest.mark.parametrize(
    ("asked", "content_free", "calls"), [(0.5, 0.3, 1), (0.5, 0.6, 0), (-2.0, -2.5, 1)]
)
def test_calibration_subtracts_the_bias(asked: float, content_free: float, calls: int) -> None:
    """The bias for a query without content is subtracted from the choice, and is not billed."""
    examples = ToolExamples("", (), (), content_free_query="no content")
    model = Biased(content=content_free, Lyon=asked)
    chat = UrialChat(model, replace(PROMPT, tool_examples=examples))
    request = request_of(chat, replace(ONE, parallel=False))
    reply = chat.reply([request])[0]
    assert len(reply.tool_calls) == calls
    assert [sent.prompt for sent in model.requests[:2]] == [
        request.content_free_prompt,
        request.prompt,
    ]
    assert reply.end.usage is not None
    assert reply.end.usage.input_tokens == len(request.prompt)


def test_no_calibration_without_scores() -> None:
    """A model that does not score choices is asked for the decision alone."""
    examples = ToolExamples("", (), (), content_free_query="no content")
    chat = UrialChat(
        FakeModel(ANSWER, "Yes.", features=ENFORCING), replace(PROMPT, tool_examples=examples)
    )
    assert chat.reply([request_of(chat, ONE)])[0].text == "Yes."
    assert len(model_of(chat).requests) == 2


class CutOff(FakeModel):
    """Says that its completions were cut off."""

    def _chunk(self, piece: str | Exception, *, last: bool) -> Any:
        return replace(super()._chunk(piece, last=last), finish="length" if last else None)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Any]:
        return [replace(done, finish="length") for done in super().complete(requests)]


def test_a_call_that_is_cut_off() -> None:
    """A call cut off by the length limit cannot be made, and the reply's end says why."""
    chat = UrialChat(CutOff(f'{CALL}{{"name": "get_weather", "argu'), PROMPT)
    for _ in range(2):
        assert summary_of(chat.reply([request_of(chat, ONE)])[0]) == ("", [], [None], "length")
    assert len(chat.model.requests) == 2  # type: ignore[attr-defined]


def test_an_answer_in_a_form() -> None:
    """With tools and a form, the answer is asked for by itself and held to the form."""
    form = JsonSchema.of({"type": "object", "properties": {"n": {"type": "integer"}}})
    expected = ('{"n": 4}', [], [], "end_of_text")
    assert ask(ONE, ANSWER, '{"n": 4}', held=True, response_format=form) == expected
    assert ask(ONE, f"{ANSWER}Four.{END}", '"n": "4"}', response_format=form) == expected
    call = ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls")
    assert ask(ONE, f"{CALL}{LYON}", response_format=form) == call


class Strict(FakeModel):
    """Cannot hold to any schema."""

    @property
    def features(self) -> ModelFeatures:
        return replace(ENFORCING, check_schema=self._refuse)

    @staticmethod
    def _refuse(schema: JsonSchema) -> None:
        raise UnsupportedSchemaError("The schema cannot be enforced: oneOf.")


def test_the_rule_for_an_answer_waits_until_one_is_decided() -> None:
    """A rule right before the decision would draw it; it stands before the answer's section."""
    chat = chat_of(ANSWER, '{"n": 4}', held=True)
    request = request_of(chat, ONE, response_format=JsonSchema.of(NUMBER))
    assert "Answer with JSON only" not in request.prompt
    chat.reply([request])
    decision, answer = (asked.prompt for asked in chat.model.requests)
    assert answer.startswith(decision)
    rule = answer.removeprefix(decision)
    assert rule.startswith("# System:\n````\nAnswer with JSON only")
    assert rule.endswith(f"\n````\n\n{ANSWER}")


@pytest.mark.parametrize("more", [{"use": ONE}, {"use": None, "response_format": JsonSchema("{}")}])
def test_a_schema_that_cannot_be_held_to(more: dict[str, Any]) -> None:
    """It is refused before any model runs."""
    chat = UrialChat(Strict(), PROMPT)
    with pytest.raises(UnsupportedSchemaError, match="oneOf"):
        request_of(chat, **more)
    assert not chat.model.requests  # type: ignore[attr-defined]


def test_batches_of_different_steps() -> None:
    """Requests that need different numbers of steps are answered together, in order."""
    chat = chat_of(f"{ANSWER}Yes.{END}", CALL, ' {"city": "Lyon"}}')
    use = replace(ONE, parallel=False)
    replies = chat.reply([request_of(chat, use), request_of(chat, use)])
    assert [reply.text for reply in replies] == ["Yes.", ""]
    assert [len(reply.tool_calls) for reply in replies] == [0, 1]
