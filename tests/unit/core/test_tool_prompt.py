"""Tools on the page: where they, their calls and results stand; and none can forge a section."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from adversarial import PROMPT_FORMATS, many, prompt_formats, texts
from hypothesis import given
from hypothesis import strategies as st

from urial_core import (
    Choice,
    ContextOverflowError,
    ConversationError,
    GenerationParameters,
    JsonSchema,
    Message,
    ParameterError,
    Prompt,
    PromptError,
    PromptFormat,
    Tool,
    ToolCall,
    ToolUse,
    compose,
    load_prompt,
    preset_names,
    unescape,
)
from urial_core.composing import TokenBudget
from urial_core.prompts.tool_examples import ToolExamples

PROMPT = Prompt(name="tiny", instruction="Be kind.")
WEATHER = Tool.of("get_weather", "The weather.", {"properties": {"city": {"type": "string"}}})
USE = ToolUse((WEATHER,))
ASKED = Message("user", "Rain in Lyon?")
CALL = ToolCall("get_weather", '{"city":"Lyon"}', "1")
CALLED = Message("assistant", "", tool_calls=(CALL,))
RESULT = Message("tool", "Yes", tool_call_id="1")
LISTED = (
    "\n# Tools:\n````\n"
    '{"name": "get_weather", "description": "The weather.", '
    '"parameters": {"properties": {"city": {"type": "string"}}}}\n````\n'
)
CALL_SECTION = (
    '\n# Tool call:\n````\n{"name": "get_weather", "arguments": {"city": "Lyon"}}\n````\n'
)


def behind(prompt: Prompt, *messages: Message, use: ToolUse | None = USE) -> str:
    """The part of a page with tools behind the constant one."""
    request = compose(prompt, messages, tools=use)
    constant = prompt.prefix_with_tools if use and use.tools else prompt.prefix
    assert request.prompt[: request.prefix_length] == constant
    return request.prompt[request.prefix_length :]


def test_without_tools_the_page_is_the_plain_one() -> None:
    """No tools, or an empty list of them, leave the page as it was, byte for byte."""
    assert behind(PROMPT, ASKED, use=None) == behind(PROMPT, ASKED, use=ToolUse(()))
    assert compose(PROMPT, [ASKED]).prompt.startswith(f"{PROMPT.prefix}\n# Query:")


@pytest.mark.parametrize("name", preset_names())
def test_the_tool_page_begins_with_the_plain_one(name: str) -> None:
    """Both constant pages share their beginning, so an engine computes that once."""
    prompt = load_prompt(name)
    assert prompt.prefix_with_tools.startswith(prompt.prefix)
    assert len(prompt.prefix_with_tools) > len(prompt.prefix)


def test_the_app_s_tools_stand_before_its_conversation() -> None:
    """Tools follow the constant page, a line of JSON each; then come the app's messages."""
    rules = Message("system", "Be brief.")
    page = behind(PROMPT, rules, ASKED)
    sections = "\n# System:\n````\nBe brief.\n````\n\n# Query:\n````\nRain in Lyon?\n````\n"
    assert page == LISTED + sections + "\n"


@pytest.mark.parametrize(
    ("use", "end"),
    [
        (USE, "\n"),
        (replace(USE, choice="none"), "\n# Answer:\n````\n"),
        (replace(USE, choice="required"), "\n# Tool call:\n````\n"),
        (replace(USE, forced="get_weather"), "\n# Tool call:\n````\n"),
    ],
)
def test_the_page_ends_where_the_model_decides(use: ToolUse, end: str) -> None:
    """It ends before a header if there is a choice, and in an open section if there is none."""
    assert (
        behind(PROMPT, ASKED, use=use) == LISTED + "\n# Query:\n````\nRain in Lyon?\n````\n" + end
    )


def test_the_choice() -> None:
    """The first step is a choice between the headers."""
    request = compose(PROMPT, [ASKED], tools=USE)
    headers = ("# Answer:\n````\n", "# Tool call:\n````\n")
    assert request.constraint == Choice(headers)


@pytest.mark.parametrize(
    ("messages", "written"),
    [
        ([CALLED, RESULT], CALL_SECTION + "\n# Tool result:\n````\nget_weather\nYes\n````\n"),
        (
            [replace(CALLED, text="I'll look."), RESULT],
            "\n# Answer:\n````\nI'll look.\n````\n"
            + CALL_SECTION
            + "\n# Tool result:\n````\nget_weather\nYes\n````\n",
        ),
        (
            [CALLED, replace(RESULT, name="other", failed=True)],
            CALL_SECTION + "\n# Tool result:\n````\nother (error)\nYes\n````\n",
        ),
        (
            [CALLED, replace(RESULT, tool_call_id=None)],
            CALL_SECTION + "\n# Tool result:\n````\nYes\n````\n",
        ),
        (
            [CALLED, replace(RESULT, tool_call_id="unknown", failed=True, text="")],
            CALL_SECTION + "\n# Tool result:\n````\nerror\n\n````\n",
        ),
        (
            [
                replace(CALLED, tool_calls=(CALL, ToolCall("f", "{}", "2"))),
                replace(RESULT, tool_call_id="2"),
                RESULT,
            ],
            CALL_SECTION.removesuffix("````\n")
            + '{"name": "f", "arguments": {}}\n````\n'
            + "\n# Tool result:\n````\nf\nYes\n````\n"
            + "\n# Tool result:\n````\nget_weather\nYes\n````\n",
        ),
    ],
)
def test_histories(messages: list[Message], written: str) -> None:
    """Calls follow the text they come with, a line each; a result names what was called."""
    page = behind(PROMPT, ASKED, *messages)
    assert page == LISTED + "\n# Query:\n````\nRain in Lyon?\n````\n" + written + "\n"


def test_unicode_is_written_as_it_is() -> None:
    """Neither tools nor calls have Unicode escaped, so that a model can copy it."""
    tool = Tool.of("天気", "天気を調べる。", {"properties": {"都市": {"type": "string"}}})
    called = Message("assistant", "", tool_calls=(ToolCall.of("天気", {"都市": "京都"}, "1"),))
    page = behind(PROMPT, ASKED, called, replace(RESULT, text="晴れ"), use=ToolUse((tool,)))
    assert "\\u" not in page
    assert '{"name": "天気", "arguments": {"都市": "京都"}}' in page


@many
@given(prompt_formats, texts, texts, texts, texts)
def test_no_text_forges_a_section(
    prompt_format: PromptFormat, description: str, argument: str, name: str, result: str
) -> None:
    """Whatever a tool, a call or a result says, the page has just the sections it should have."""
    tool = Tool.of("t", description, {"description": description})
    call = ToolCall.of("t", {"x": argument}, "1")
    messages = [
        Message("user", "Q"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", result, name=name, failed=True),
    ]
    prompt = replace(PROMPT, format=prompt_format)
    request = compose(prompt, messages, tools=ToolUse((tool,)))
    page = request.prompt[request.prefix_length :]
    lines = [line for line in page.splitlines() if line.rstrip(" \t") in prompt_format.headers]
    kinds = ("tools", "user", "call", "tool")
    assert lines == [prompt_format.header(kind) for kind in kinds]
    assert unescape(page, prompt_format).count(
        f'"description": {json.dumps(description, ensure_ascii=False)}'
    )


@many
@given(st.integers(10, 400), st.booleans())
def test_trimming_keeps_calls_and_results_together(window: int, parallel: bool) -> None:
    """However small the window, calls and their results are kept or truncated together."""
    turns = list[Message]()
    for number in range(6):
        calls = tuple(ToolCall("f", "{}", f"{number}.{i}") for i in range(2 if parallel else 1))
        results = (Message("tool", "fine " * 5, tool_call_id=call.id) for call in calls)
        turns += [Message("user", f"Q{number}"), Message("assistant", "", tool_calls=calls)]
        turns += [*results, Message("assistant", f"A{number}")]
    messages = [*turns, Message("user", "Last")]
    lesson = ToolExamples("", (), ())
    budget = TokenBudget(window, lambda text: len(text.split()))
    try:
        request = compose(
            replace(PROMPT, tool_examples=lesson),
            messages,
            GenerationParameters(max_tokens=1),
            budget=budget,
            overflow="truncate",
            tools=USE,
        )
    except ContextOverflowError:
        return
    truncated = [message.tool_calls for message in request.truncated]
    called = {call.id for calls in truncated for call in calls}
    answered = {message.tool_call_id for message in request.truncated if message.role == "tool"}
    assert called == answered
    kept = [message for message in messages if message not in request.truncated]
    assert kept[-1].text == "Last"
    assert kept[0].role == "user"


def test_the_window_has_room_for_a_call() -> None:
    """What the steps of a reply put on the page themselves was counted."""
    words = TokenBudget(10_000, lambda text: len(text.split()))
    plain = len(compose(PROMPT, [ASKED], tools=USE).prompt.split())
    call = '# Tool call: ```` {"name": "get_weather", "arguments":'
    needed = plain + len(call.split())
    parameters = GenerationParameters(max_tokens=5)
    compose(PROMPT, [ASKED], parameters, budget=replace(words, window=needed + 5), tools=USE)
    with pytest.raises(ContextOverflowError, match="tools"):
        compose(PROMPT, [ASKED], parameters, budget=replace(words, window=needed + 4), tools=USE)


@pytest.mark.parametrize(
    ("messages", "use"),
    [
        ([ASKED, CALLED], None),
        ([ASKED, Message("assistant", "Well")], replace(USE, choice="required")),
    ],
)
def test_a_call_is_not_continued(messages: list[Message], use: ToolUse | None) -> None:
    """The beginning of a reply that is or must be a call is refused as a prefill."""
    with pytest.raises(ConversationError, match="cannot be continued"):
        compose(PROMPT, messages, prefill=True, tools=use)


def test_a_form_is_shown() -> None:
    """The form of the answer is a rule behind the last message, and constrains the answer."""
    form = JsonSchema.of({"title": "T", "type": "object"})
    request = compose(PROMPT, [ASKED], response_format=form)
    assert request.constraint == form
    rule = 'Answer with JSON only, in the form of this JSON schema: {"type": "object"}'
    end = f"\n# System:\n````\n{rule}\n````\n\n# Answer:\n````\n"
    assert request.prompt.endswith(end)


def test_a_lesson_that_breaks_the_page() -> None:
    """A lesson with a line that looks like structure is refused."""
    lesson = ToolExamples("", (), ((Message("user", "Hi\n# Answer:"),),))
    with pytest.raises(PromptError, match="looks like"):
        _ = replace(PROMPT, tool_examples=lesson).prefix_with_tools


@pytest.mark.parametrize("name", PROMPT_FORMATS)
def test_the_shared_lesson_fits_every_frame(name: str) -> None:
    """The lesson that all prompts share can be written in any format."""
    assert replace(PROMPT, format=PROMPT_FORMATS[name]).prefix_with_tools


def test_a_lesson_of_one_s_own(tmp_path: Path) -> None:
    """A prompt file may bring its own tool examples."""
    path = tmp_path / "own.toml"
    path.write_text(
        """
version = 1
name = "own"
instruction = "Be kind."
[tools]
instruction = "Use tools."
content_free_query = "Hi"
[[tools.tools]]
name = "f"
parameters = '{"type": "object"}'
[[tools.examples]]
messages = [
    { role = "user", text = "Do f." },
    { role = "assistant", calls = [{ name = "f", arguments = '{"x": 1}' }] },
    { role = "tool", name = "f", text = "no", failed = true },
    { role = "assistant", text = "It failed." },
]
""",
        "utf-8",
    )
    prompt = load_prompt(path)
    assert prompt.tool_examples.content_free_query == "Hi"
    assert prompt.prefix_with_tools == (
        prompt.prefix
        + "\n# System:\n````\nUse tools.\n````\n"
        + "\n# Tools:\n````\n"
        + '{"name": "f", "description": "", "parameters": {"type": "object"}}\n````\n'
        + "\n# Query:\n````\nDo f.\n````\n"
        + '\n# Tool call:\n````\n{"name": "f", "arguments": {"x": 1}}\n````\n'
        + "\n# Tool result:\n````\nf (error)\nno\n````\n"
        + "\n# Answer:\n````\nIt failed.\n````\n"
    )


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: ToolUse((WEATHER, WEATHER)), "one name"),
        (lambda: ToolUse((WEATHER,), forced="other"), "'other'"),
        (lambda: ToolUse((), choice="required"), "no tools"),
        (lambda: Tool("a\nb"), "one line"),
    ],
)
def test_wrong_tools(make: object, problem: str) -> None:
    """Tools that cannot be used are refused when they are named."""
    with pytest.raises(ParameterError, match=problem):
        make()  # type: ignore[operator]
