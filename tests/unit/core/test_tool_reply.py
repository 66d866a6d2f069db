"""Replies that may call tools: the same, valid reply however the model's text is split."""

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
TWO: Summary = (
    *("", [("get_weather", {"city": "Lyon"}), ("get_weather", {"city": "Nice"})], []),
    "tool_calls",
)


def chat_of(
    *responses: Iterable[str] | str, constrained: bool = False, echo: bool = False
) -> UrialChat:
    """Return a chat with a fake model, which claims to enforce constraints or to echo, or not."""
    features = ENFORCING if constrained else None
    return UrialChat(FakeModel(*responses, features=features, may_echo=echo), PROMPT)


def request_of(chat: UrialChat, use: ToolUse | None, **more: Any) -> CompletionRequest:
    """Return a request with these tools."""
    return chat.request([Message("user", "Rain in Lyon?")], tools=use, **more)


def model_of(chat: UrialChat) -> FakeModel:
    """Return the chat's fake model."""
    assert isinstance(chat.model, FakeModel)
    return chat.model


def summary_of(reply: Reply) -> Summary:
    """Return a reply's text, calls, names of invalid calls and end reason."""
    calls = [(call.name, call.values) for call in reply.tool_calls]
    return reply.text, calls, [call.name for call in reply.end.invalid_tool_calls], reply.end.reason


def summary_of_stream(events: Sequence[TextDelta | ToolCallDelta | ReplyEnd]) -> Summary:
    """Return the same of a stream's events; invalid calls are left out of the calls."""
    end = events[-1]
    assert isinstance(end, ReplyEnd)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    invalid = {call.id for call in end.invalid_tool_calls}
    names, arguments = dict[str, str](), dict[str, str]()
    for event in events:
        if isinstance(event, ToolCallDelta) and event.id not in invalid:
            assert bool(event.name) == (event.id not in names)
            names[event.id] = names.get(event.id, event.name)
            assert event.index == list(names).index(event.id)
            arguments[event.id] = arguments.get(event.id, "") + event.arguments
    calls = [(name, json.loads(arguments[id_])) for id_, name in names.items()]
    return text, calls, [call.name for call in end.invalid_tool_calls], end.reason


def ask(use: ToolUse | None, *responses: str, constrained: bool = False, **more: Any) -> Summary:
    """Return a reply's summary, which must be the same whole and streamed."""
    chat = chat_of(*responses, constrained=constrained)
    whole = summary_of(chat.reply([request_of(chat, use, **more)])[0])
    chat = chat_of(*responses, constrained=constrained)
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
    "another header": (BOTH, False, ["# Query:\n", f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
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
    "two calls, but not parallel": (
        replace(BOTH, parallel=False),
        False,
        [f"{CALL}{LYON}\n{NICE}{END}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "repeated call": (
        BOTH,
        False,
        [f"{CALL}{LYON}\n{LYON}\n{NICE}{END}"],
        TWO,
    ),
    "comma between calls": (BOTH, False, [f"{CALL}{LYON},\n{NICE}{END}"], TWO),
    "list of calls": (BOTH, False, [f"{CALL}{LYON}\n  2. {NICE}{END}"], TWO),
    "brace too many": (BOTH, False, [f"{CALL}{LYON}}}\n{NICE}}}{END}"], TWO),
    "unreadable after a call": (
        BOTH,
        False,
        [f"{CALL}{LYON}; {{city: Nice}}{END}", ' "triple"}'],
        ("", [("get_weather", {"city": "Lyon"})], ["triple"], "tool_calls"),
    ),
    "prose after a call": (
        BOTH,
        False,
        [f"{CALL}{LYON}\nI would not look it up for {{Nice}}, since nobody asked.{END}"],
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
    "retried": (
        BOTH,
        False,
        [f'{CALL}{{"name": "double", "arguments": {{}}}}{END}', f' {{"n": 4}}}}{END}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "unknown tool, retried": (
        BOTH,
        False,
        [f'{CALL}{{"name": "dobule", "arguments": {{}}}}', ' "double", "arguments": {"n": 4}}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "no JSON, invalid twice": (
        BOTH,
        False,
        [f"{CALL}double(4){END}", f' "triple"}}{END}'],
        ("", [], ["triple"], "tool_calls"),
    ),
    "the second is invalid": (
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
    "required, but empty": (
        replace(ONE, choice="required"),
        False,
        [f"{END}", f"{END}"],
        ("", [], [None], "tool_calls"),
    ),
    "none": (replace(BOTH, choice="none"), False, [f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
    "constrained: answer": (BOTH, True, [ANSWER, f"Yes.{END}"], ("Yes.", [], [], "delimiter")),
    "constrained: call": (
        ONE,
        True,
        [CALL, LYON, NO_MORE],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "constrained: which tool": (
        replace(BOTH, choice="required", parallel=False),
        True,
        ['{"name": "double", "arguments": {"n": 4}}'],
        ("", [("double", {"n": 4})], [], "tool_calls"),
    ),
    "constrained: two calls": (
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
    "constrained: repeated call": (
        ONE,
        True,
        [CALL, LYON, '\n{"name":', LYON],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "not enforced: text after the call": (
        replace(ONE, parallel=False),
        True,
        [f"{CALL}{LYON}{END}\n# Tool result:\n"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "not enforced: no JSON": (
        replace(ONE, parallel=False),
        True,
        [CALL, "get_weather(Lyon)", ' {"city": "Lyon"}}'],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "not enforced: no choice": (
        replace(ONE, parallel=False),
        True,
        ["Well", f"{CALL}{LYON}{END}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
    "not enforced: answer at once": (
        ONE,
        True,
        [f"{ANSWER}Yes, in Lyon.{END}"],
        ("Yes, in Lyon.", [], [], "delimiter"),
    ),
    "not enforced: no choice after a call": (
        ONE,
        True,
        [CALL, LYON, f"\n{NICE}"],
        ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_replies(case: str) -> None:
    """Each case gives its reply, whole and streamed."""
    use, constrained, responses, expected = CASES[case]
    assert ask(use, *responses, constrained=constrained) == expected


@many
@given(st.sampled_from(sorted(CASES)), sizes, st.booleans())
def test_any_split_gives_the_same_reply(case: str, lengths: list[int], echo: bool) -> None:
    """The reply is the same for any split of the text, and after an echo of the prompt."""
    use, constrained, responses, expected = CASES[case]
    prompt = request_of(chat_of(), use).prompt if echo and not use.must_call else ""
    first, *others = responses
    pieces = [cut(text, lengths) for text in [prompt + first, *others]]
    chat = chat_of(*pieces, constrained=constrained, echo=echo)
    events = list(chat.stream(request_of(chat, use)))
    assert summary_of_stream(events) == expected
    assert not any(event.text == "" for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("city", ["Lyon", []])  # a string is wanted
def test_arguments_can_be_encoded(city: object) -> None:
    """Half a character in a call's arguments, valid or not, stays escaped as the model wrote it."""
    written = json.dumps({"city": city, "at": "\ud83d"}) + "}"
    chat = chat_of(f'{CALL}{{"name": "get_weather", "arguments": {written}', written)
    [reply] = chat.reply([request_of(chat, ONE)])
    valid = [call.arguments for call in reply.tool_calls]
    (arguments,) = valid or [call.text for call in reply.end.invalid_tool_calls]
    assert r"\ud83d" in arguments
    assert arguments.encode()


@pytest.mark.parametrize("case", CASES)
async def test_async_methods_give_the_same_reply(case: str) -> None:
    """The async methods give the same replies as the sync ones."""
    use, constrained, responses, expected = CASES[case]
    chat = chat_of(*responses, constrained=constrained)
    assert summary_of((await chat.areply([request_of(chat, use)]))[0]) == expected
    chat = chat_of(*responses, constrained=constrained)
    events = [event async for event in chat.astream(request_of(chat, use))]
    assert summary_of_stream(events) == expected


@many
@given(prompt_formats, st.text(max_size=30), sizes)
def test_arguments_of_any_text(prompt_format: PromptFormat, city: str, lengths: list[int]) -> None:
    """Any text can be an argument, in any prompt format, and is never emitted as text."""
    call = json.dumps({"name": "get_weather", "arguments": {"city": city}}, ensure_ascii=False)
    opened = prompt_format.open_turn("call").removeprefix(prompt_format.separator)
    response = cut(
        f"{opened}{call}{prompt_format.turn_end}{prompt_format.separator}{prompt_format.tool_header}\n",
        lengths,
    )
    chat = UrialChat(FakeModel(response), replace(PROMPT, format=prompt_format))
    expected = ("", [("get_weather", {"city": city})], [], "tool_calls")
    assert summary_of_stream(list(chat.stream(request_of(chat, ONE)))) == expected


@many
@given(st.text(alphabet='#Tol calAnswer:\n`{}"\\', max_size=40), sizes)
def test_any_text_gives_a_reply(text: str, lengths: list[int]) -> None:
    """Any text of a model gives a reply with an end and with text, calls or invalid calls."""
    chat = chat_of(cut(text, lengths) or [""], "more text")
    reply, calls, invalid, _ = summary_of_stream(list(chat.stream(request_of(chat, ONE))))
    assert reply or calls or invalid
    assert not reply.startswith(("# Answer:\n", "# Tool call:\n"))


def test_arguments_stream_as_they_are_written() -> None:
    """The arguments of a constrained call are emitted piece by piece."""
    pieces = ['{"name": "get_weather", "arg', 'uments": {"ci', 'ty": "Ly', 'on"}}']
    chat = chat_of(CALL, pieces, NO_MORE, constrained=True)
    events = list(chat.stream(request_of(chat, ONE)))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [delta.arguments for delta in deltas] == ['{"ci', 'ty": "Ly', 'on"}']
    assert [delta.name for delta in deltas] == ["get_weather", "", ""]


PARIS = '{"name": "get_weather", "arguments": {"town": "Paris"}}'


def test_an_invalid_call_that_was_emitted_is_not_retried() -> None:
    """A stream cannot retract emitted arguments: the end reports the invalid call."""
    chat = chat_of(CALL, PARIS, f' {{"city": "Lyon"}}}}{END}', constrained=True)
    summary = summary_of_stream(list(chat.stream(request_of(chat, replace(ONE, parallel=False)))))
    assert summary == ("", [], ["get_weather"], "tool_calls")
    assert len(model_of(chat).requests) == 2


def test_a_call_that_was_emitted_is_valid_as_it_was_written() -> None:
    """What would be repaired in a whole reply is invalid in a stream."""
    written = '{"name": "get_weather", "arguments": {"city": 3}}'
    for live, expected in ((False, ([("get_weather", {"city": "3"})], [])), (True, ([], ["3"]))):
        chat = chat_of(CALL, written, NO_MORE, constrained=True)
        request = request_of(chat, replace(ONE, parallel=False))
        end = list(chat.stream(request))[-1] if live else chat.reply([request])[0].end
        assert isinstance(end, ReplyEnd)
        assert len(end.invalid_tool_calls) == len(expected[1])


@pytest.mark.parametrize(
    ("second", "calls", "invalid"),
    [
        (f' {{"city": "Lyon"}}}}{END}', [("get_weather", {"city": "Lyon"})], []),
        (f' {{"town": "Lyon"}}}}{END}', [], ["get_weather"]),
    ],
)
def test_an_invalid_call_of_a_whole_reply_is_retried(second: str, calls: Any, invalid: Any) -> None:
    """An invalid call of a whole reply is retried once, even if the model enforces schemas."""
    chat = chat_of(CALL, PARIS, second, constrained=True)
    [reply] = chat.reply([request_of(chat, replace(ONE, parallel=False))])
    assert summary_of(reply) == ("", calls, invalid, "tool_calls")


def test_a_choice_must_equal_an_option() -> None:
    """A completion that only begins with an option is retried without the constraint."""
    chat = chat_of([ANSWER, "Yes", ", it", " rains"], f"{ANSWER}Yes.{END}", constrained=True)
    events = list(chat.stream(request_of(chat, ONE)))
    assert summary_of_stream(events) == ("Yes.", [], [], "delimiter")
    constrained, unconstrained = model_of(chat).requests
    assert isinstance(constrained.constraint, Choice)
    assert unconstrained == replace(constrained, constraint=None)
    assert model_of(chat).chunks_sent == 3


def test_the_model_is_stopped_at_the_closing_brace() -> None:
    """Nothing is generated after a call if only one is allowed."""
    chat = chat_of([CALL, LYON, "\n", "and", "on"])
    list(chat.stream(request_of(chat, replace(ONE, parallel=False))))
    assert model_of(chat).chunks_sent == 2


def test_the_steps_of_a_constrained_call() -> None:
    """Header, call and the choice of another call are one constrained step each."""
    chat = chat_of(CALL, LYON, NO_MORE, constrained=True)
    first = request_of(chat, BOTH)
    chat.reply([first])
    decision, call, another = model_of(chat).requests
    assert isinstance(decision.constraint, Choice)
    assert call.constraint == call_schema(BOTH.tools)
    assert another.constraint == Choice((NO_MORE, '\n{"name":'))
    assert call.prompt == first.prompt + CALL
    assert another.prompt == first.prompt + CALL + LYON
    assert call.prefix_length == another.prefix_length == first.prefix_length


def test_json_is_not_penalised() -> None:
    """Calls are generated without penalties and without the user's stop strings."""
    chat = chat_of(' {"city": "Lyon"}}')
    parameters = GenerationParameters(repetition_penalty=1.3, presence_penalty=1.0, stop=("{",))
    request = request_of(chat, replace(ONE, choice="required"), parameters=parameters)
    assert chat.reply([request])[0].tool_calls
    sent = model_of(chat).requests[0]
    assert sent.parameters.repetition_penalty == 1.0
    assert sent.parameters.presence_penalty == 0.0
    assert sent.parameters.temperature == 0.0
    assert sent.parameters.stop == ()
    assert "{" not in sent.stop


def test_a_stop_string_ends_an_answer() -> None:
    """The user's stop strings apply to an answer, not to its header."""
    parameters = GenerationParameters(stop=("# A", "z"))
    summary = ask(BOTH, f"{ANSWER}It razes{END}", parameters=parameters)
    assert summary == ("It ra", [], [], "stop_string")


def test_a_retry_has_the_error_in_its_prompt() -> None:
    """The prompt of a retry has the invalid call and the error, as a failed result."""
    chat = chat_of(f'{CALL}{{"name": "double", "arguments": {{}}}}{END}', ' {"n": 4}}')
    chat.reply([request_of(chat, BOTH)])
    first, second = model_of(chat).requests
    added = second.prompt.removeprefix(first.prompt)
    assert added == (
        '# Tool call:\n````\n{"name": "double", "arguments": {}}\n````\n'
        "\n# Tool result:\n````\ndouble (error)\n"
        "The arguments are wrong: 'n' is a required property.\n````\n"
        '\n# Tool call:\n````\n{"name": "double", "arguments":'
    )


def test_usage_counts_the_prompt_once() -> None:
    """Usage counts the prompt's tokens once, and the sum of all steps' output tokens."""
    chat = chat_of(CALL, LYON, NO_MORE, constrained=True)
    request = request_of(chat, ONE)
    usage = chat.reply([request])[0].end.usage
    assert usage is not None
    assert usage.input_tokens == len(request.prompt.split())
    assert usage.output_tokens == sum(len(text.split()) for text in (CALL, LYON, NO_MORE))


def test_max_tokens_limits_all_steps_together() -> None:
    """Each step may generate as many tokens as the previous ones have left."""
    parameters = GenerationParameters(max_tokens=30)
    chat = chat_of(CALL, LYON, constrained=True)
    chat.reply([request_of(chat, replace(ONE, parallel=False), parameters=parameters)])
    spent = len(CALL.split())
    limits = [request.max_tokens for request in model_of(chat).requests]
    assert limits == [30, 30 - spent]


class Biased(FakeModel):
    """Fake that scores choices: a call gets a bias if the prompt contains a word."""

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
    ("bias", "content_free_bias", "calls"), [(0.5, 0.3, 1), (0.5, 0.6, 0), (-2.0, -2.5, 1)]
)
def test_calibration_subtracts_the_bias(bias: float, content_free_bias: float, calls: int) -> None:
    """The bias for a content-free query is subtracted, and its tokens are not in the usage."""
    examples = ToolExamples("", (), (), content_free_query="no content")
    model = Biased(content=content_free_bias, Lyon=bias)
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
    """A model that does not score choices gets no request for calibration."""
    examples = ToolExamples("", (), (), content_free_query="no content")
    chat = UrialChat(
        FakeModel(ANSWER, "Yes.", features=ENFORCING), replace(PROMPT, tool_examples=examples)
    )
    assert chat.reply([request_of(chat, ONE)])[0].text == "Yes."
    assert len(model_of(chat).requests) == 2


class CutOff(FakeModel):
    """Fake whose completions all reach ``max_tokens``."""

    def _chunk(self, piece: Any, *, last: bool) -> Any:
        return replace(super()._chunk(piece, last=last), finish="length" if last else None)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Any]:
        return [replace(done, finish="length") for done in super().complete(requests)]


def test_a_call_cut_off_is_invalid() -> None:
    """A call cut off at ``max_tokens`` is invalid and not retried; the end reason is "length"."""
    expected = ("", [], ["get_weather"], "length")
    chat = UrialChat(CutOff(f'{CALL}{{"name": "get_weather", "argu'), PROMPT)
    for _ in range(2):
        assert summary_of(chat.reply([request_of(chat, ONE)])[0]) == expected
    assert len(chat.model.requests) == 2  # type: ignore[attr-defined]


def test_an_answer_with_a_response_format() -> None:
    """With tools and a response format, the answer is a step of its own, in that format."""
    schema = JsonSchema.of({"type": "object", "properties": {"n": {"type": "integer"}}})
    expected = ('{"n": 4}', [], [], "end_of_text")
    assert ask(ONE, ANSWER, '{"n": 4}', constrained=True, response_format=schema) == expected
    assert ask(ONE, f"{ANSWER}Four.{END}", '"n": "4"}', response_format=schema) == expected
    call = ("", [("get_weather", {"city": "Lyon"})], [], "tool_calls")
    assert ask(ONE, f"{CALL}{LYON}", response_format=schema) == call


class Strict(FakeModel):
    """Fake that cannot enforce any schema."""

    @property
    def features(self) -> ModelFeatures:
        return replace(ENFORCING, check_schema=self._refuse)

    @staticmethod
    def _refuse(schema: JsonSchema) -> None:
        raise UnsupportedSchemaError("The schema cannot be enforced: oneOf.")


def test_the_response_format_follows_the_decision() -> None:
    """The response format is not in the decision's prompt, which it would bias, but after it."""
    chat = chat_of(ANSWER, '{"n": 4}', constrained=True)
    request = request_of(chat, ONE, response_format=JsonSchema.of(NUMBER))
    assert "Answer with JSON only" not in request.prompt
    chat.reply([request])
    decision, answer = (sent.prompt for sent in chat.model.requests)
    assert answer.startswith(decision)
    rule = answer.removeprefix(decision)
    assert rule.startswith("# System:\n````\nAnswer with JSON only")
    assert rule.endswith(f"\n````\n\n{ANSWER}")


@pytest.mark.parametrize("more", [{"use": ONE}, {"use": None, "response_format": JsonSchema("{}")}])
def test_a_schema_that_cannot_be_enforced_is_only_validated(more: dict[str, Any]) -> None:
    """A schema that the model cannot enforce does not constrain it: the value is validated."""
    chat = UrialChat(Strict(), PROMPT)
    chat.reply([request_of(chat, **more)])
    constraints = [sent.constraint for sent in chat.model.requests]  # type: ignore[attr-defined]
    assert not any(isinstance(constraint, JsonSchema) for constraint in constraints)


def test_a_batch_of_different_steps() -> None:
    """Requests of a batch may need different numbers of steps; replies keep their order."""
    chat = chat_of(f"{ANSWER}Yes.{END}", CALL, ' {"city": "Lyon"}}')
    use = replace(ONE, parallel=False)
    replies = chat.reply([request_of(chat, use), request_of(chat, use)])
    assert [reply.text for reply in replies] == ["Yes.", ""]
    assert [len(reply.tool_calls) for reply in replies] == [0, 1]
