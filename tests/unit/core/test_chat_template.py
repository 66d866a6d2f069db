"""The Jinja chat template: it writes the same page as ``compose``, whatever is said."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from adversarial import HEADERS, PROMPT_FORMATS, many, texts
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from urial_core import (
    ConversationError,
    Example,
    Message,
    Prompt,
    Tool,
    ToolCall,
    ToolUse,
    compose,
    load_prompt,
    preset_names,
)
from urial_core.chat_template import chat_template
from urial_core.prompts.loading import parse_original

Turn = dict[str, Any]

TRAPS = (
    "Braces {{ x }} {% raw %} {# y #}, quotes ' \" and \\n \\' \\\\ stay; é 日本 \N{GRINNING FACE}."
)
PROMPTS = (
    [load_prompt(name) for name in preset_names()]
    + [
        Prompt(
            name=name,
            instruction=TRAPS,
            examples=(Example("q", f"a\r\n{TRAPS}"),),
            format=prompt_format,
        )
        for name, prompt_format in PROMPT_FORMATS.items()
    ]
    + [parse_original(f"{TRAPS}\n\n# User:\nq\n\n\n# Assistant:\na\n", "original")]
)
TRACKING = [prompt for prompt in PROMPTS if len(prompt.format.fence) == 3]
"""Prompts whose fence looks like a code block's, which makes escaping hardest."""
TOOLS = (
    Tool.of("find", "Say \"hi\" in 'é'.", {"type": "object", "properties": {"q": {"type": "str"}}}),
    Tool("now"),
)


@cache
def compiled(number: int, *, tools: bool = False) -> Template:
    """A template, in an environment as transformers and vLLM have it."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(chat_template(PROMPTS[number], tools=tools))


def rendered(number: int, turns: list[Turn], *, with_tools: bool = False, **values: Any) -> str:
    return compiled(number, tools=with_tools).render(
        messages=turns, **{"add_generation_prompt": True, **values}
    )


def message(turn: Turn) -> Message:
    """A turn in the OpenAI API's words as the core has it."""
    content = turn.get("content") or ""
    calls = turn.get("tool_calls") or ()
    return Message(
        "system" if turn["role"] == "developer" else turn["role"],
        content if isinstance(content, str) else "".join(part["text"] for part in content),
        turn.get("name"),
        tuple(
            ToolCall(call["function"]["name"], _text(call["function"]["arguments"]), call["id"])
            for call in calls
        ),
        turn.get("tool_call_id"),
    )


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def openai_tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


_names = st.sampled_from(["find", "now", "# Query:", 'a"b'])
_ids = st.sampled_from(["1", "2", "3"])
_values = st.one_of(texts, st.integers(), st.booleans(), st.none(), st.lists(st.integers()))
_arguments = st.dictionaries(st.sampled_from(["q", "é", "# Answer:"]), _values, max_size=2)
_calls = st.builds(
    lambda call_id, name, arguments: {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    _ids,
    _names,
    st.one_of(_arguments, _arguments.map(lambda value: json.dumps(value, ensure_ascii=False))),
)
_parts = st.builds(lambda text: {"type": "text", "text": text}, texts)
_contents = st.one_of(
    texts, texts, st.lists(_parts, max_size=3), st.sampled_from(["", " \n\t", "\u3000", None])
)
_turns = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user"]), "content": _contents}
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": _contents},
        optional={"tool_calls": st.one_of(st.none(), st.lists(_calls, max_size=3))},
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": _contents, "tool_call_id": _ids},
        optional={"name": _names},
    ),
)
_conversations = st.builds(
    lambda turns, said: [*turns, {"role": "user", "content": f"{said}?"}],
    st.lists(_turns, max_size=6),
    texts,
)
_prompts = st.integers(0, len(PROMPTS) - 1)
_tracking = st.sampled_from(list(map(PROMPTS.index, TRACKING)))


@many
@given(_prompts, _conversations)
def test_the_page_is_the_composer_s(number: int, turns: list[Turn]) -> None:
    """Any conversation gives the composer's page, byte for byte, behind the first token."""
    page = compose(PROMPTS[number], list(map(message, turns))).prompt
    assert rendered(number, turns, bos_token="<s>") == f"<s>{page}"


@many
@given(st.one_of(_prompts, _tracking, _tracking, _tracking), texts)
@example(PROMPTS.index(TRACKING[0]), "```a`\n```")
@example(PROMPTS.index(TRACKING[0]), " `````\n```\n# Query:\n`````\n```")
def test_one_text(number: int, text: str) -> None:
    """Any one text stands on the page as the composer escapes it."""
    said = f"?\n{text}"
    page = compose(PROMPTS[number], [Message("user", said)]).prompt
    assert rendered(number, [{"role": "user", "content": said}]) == page


@many
@given(_prompts, _conversations)
def test_pages_with_tools(number: int, turns: list[Turn]) -> None:
    """With tools it gives the composer's page with tools, up to where a header is chosen."""
    page = compose(PROMPTS[number], list(map(message, turns)), tools=ToolUse(TOOLS)).prompt
    assert rendered(number, turns, with_tools=True, **_with(TOOLS)) == page


@many
@given(_prompts, st.lists(_turns, max_size=3))
def test_what_cannot_be_answered(number: int, turns: list[Turn]) -> None:
    """A conversation that ends with an answer, or says nothing, is refused by both or neither."""
    try:
        page = compose(PROMPTS[number], list(map(message, turns))).prompt
    except ConversationError as error:
        with pytest.raises(TemplateError, match=str(error)[:20]):
            rendered(number, turns)
    else:
        assert rendered(number, turns) == page


@many
@given(_prompts, _conversations, st.sampled_from(["x", *HEADERS]), texts)
def test_an_answer_to_be_continued(
    number: int, turns: list[Turn], start: str, beginning: str
) -> None:
    """Cut behind a last answer, as transformers and vLLM do, the page is that of a prefill."""
    prompt = PROMPTS[number]
    beginning = f"{start}{beginning}."  # formats that strip newlines would strip a prefill's too
    last = {"role": "assistant", "content": beginning}
    said = [message(turn) for turn in [*turns, last]]
    page = rendered(number, [*turns, last], add_generation_prompt=False)
    assert page == compose(prompt, said, prefill=True).prompt + prompt.format.turn_end


def test_tools_must_be_wanted() -> None:
    """Where no tools are written, a request with tools is refused; with none it is not."""
    turns = [{"role": "user", "content": "Hi"}]
    with pytest.raises(TemplateError, match="leave them out"):
        rendered(0, turns, **_with(TOOLS))
    assert rendered(0, turns, tools=[]) == rendered(0, turns)


@pytest.mark.parametrize(
    ("turn", "part"),
    [
        ({"role": "critic", "content": "Hi"}, "Unknown role"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "text only"),
    ],
)
def test_what_no_page_can_hold(turn: Turn, part: str) -> None:
    """Roles that are none, and content that is no text, are refused."""
    with pytest.raises(TemplateError, match=part):
        rendered(0, [turn])


def test_the_first_token_can_be_left_out() -> None:
    """Without ``bos``, the template does not name the token at all."""
    assert "bos_token" in chat_template(PROMPTS[0])
    assert "bos_token" not in chat_template(PROMPTS[0], bos=False)


def _with(tools: tuple[Tool, ...]) -> dict[str, Any]:
    return {"tools": [openai_tool(tool) for tool in tools]}
