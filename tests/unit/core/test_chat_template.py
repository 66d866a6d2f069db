"""The Jinja chat template: it writes the same prompt as ``compose`` for any conversation."""

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

OpenAIMessage = dict[str, Any]

TRICKY = (
    "Braces {{ x }} {% raw %} {# y #}, quotes ' \" and \\n \\' \\\\ stay; é 日本 \N{GRINNING FACE}."
)
PROMPTS = (
    [load_prompt(name) for name in preset_names()]
    + [
        Prompt(
            name=name,
            instruction=TRICKY,
            examples=(Example("q", f"a\r\n{TRICKY}"),),
            format=prompt_format,
        )
        for name, prompt_format in PROMPT_FORMATS.items()
    ]
    + [Prompt(name="no instruction", instruction="", examples=(Example("q", TRICKY),))]
    + [parse_original(f"{TRICKY}\n\n# User:\nq\n\n\n# Assistant:\na\n", "original")]
)
TRACKING = [prompt for prompt in PROMPTS if len(prompt.format.fence) == 3]
"""Prompts whose fence may also be a code block's, which makes escaping hardest."""
TOOLS = (
    Tool.of("find", "Say \"hi\" in 'é'.", {"type": "object", "properties": {"q": {"type": "str"}}}),
    Tool("now"),
)


@cache
def compiled(number: int, *, tools: bool = False) -> Template:
    """Compile a template in an environment as transformers and vLLM have it."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(chat_template(PROMPTS[number], tools=tools))


def rendered(
    number: int, messages: list[OpenAIMessage], *, with_tools: bool = False, **values: Any
) -> str:
    return compiled(number, tools=with_tools).render(
        messages=messages, **{"add_generation_prompt": True, **values}
    )


def message(sent: OpenAIMessage) -> Message:
    """Convert a message of the OpenAI API."""
    content = sent.get("content") or ""
    calls = sent.get("tool_calls") or ()
    return Message(
        "system" if sent["role"] == "developer" else sent["role"],
        content if isinstance(content, str) else "".join(part["text"] for part in content),
        sent.get("name"),
        tuple(
            ToolCall(call["function"]["name"], _text(call["function"]["arguments"]), call["id"])
            for call in calls
        ),
        sent.get("tool_call_id"),
    )


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def openai_tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


_names = st.sampled_from(["find", "now", "# Query:", 'a"b'])
_authors = st.sampled_from(["planner", "", "a\n# Answer:\n````", None])
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
_messages = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user"]), "content": _contents},
        optional={"name": _authors},
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": _contents},
        optional={
            "tool_calls": st.one_of(st.none(), st.lists(_calls, max_size=3)),
            "name": _authors,
        },
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": _contents},
        optional={"name": _names, "tool_call_id": _ids},
    ),
)
_conversations = st.builds(
    lambda messages, text: [*messages, {"role": "user", "content": f"{text}?"}],
    st.lists(_messages, max_size=6),
    texts,
)
_prompts = st.integers(0, len(PROMPTS) - 1)
_tracking = st.sampled_from(list(map(PROMPTS.index, TRACKING)))


@many
@given(_prompts, _conversations)
def test_the_same_prompt_as_compose(number: int, messages: list[OpenAIMessage]) -> None:
    """Write any conversation as ``compose`` does, byte for byte, after ``bos_token``."""
    expected = compose(PROMPTS[number], list(map(message, messages))).prompt
    assert rendered(number, messages, bos_token="<s>") == f"<s>{expected}"


@many
@given(st.one_of(_prompts, _tracking, _tracking, _tracking), texts)
@example(PROMPTS.index(TRACKING[0]), "```a`\n```")
@example(PROMPTS.index(TRACKING[0]), " `````\n```\n# Query:\n`````\n```")
def test_one_text(number: int, text: str) -> None:
    """Escape any text as ``compose`` does."""
    content = f"?\n{text}"
    expected = compose(PROMPTS[number], [Message("user", content)]).prompt
    assert rendered(number, [{"role": "user", "content": content}]) == expected


@many
@given(_prompts, _conversations)
def test_tools(number: int, messages: list[OpenAIMessage]) -> None:
    """Write the same prompt with tools as ``compose``, up to where the model chooses a header."""
    expected = compose(PROMPTS[number], list(map(message, messages)), tools=ToolUse(TOOLS)).prompt
    assert rendered(number, messages, with_tools=True, **_with(TOOLS)) == expected


@many
@given(_prompts, st.lists(_messages, max_size=3))
def test_unanswerable_conversations(number: int, messages: list[OpenAIMessage]) -> None:
    """Refuse a conversation without text, where ``compose`` does."""
    try:
        expected = compose(PROMPTS[number], list(map(message, messages))).prompt
    except ConversationError as error:
        with pytest.raises(TemplateError, match=str(error)[:20]):
            rendered(number, messages)
    else:
        assert rendered(number, messages) == expected


@many
@given(_prompts, _conversations, st.sampled_from(["x", *HEADERS]), texts, _authors)
def test_prefill(
    number: int, messages: list[OpenAIMessage], start: str, beginning: str, author: str | None
) -> None:
    """Write a prefill's prompt if it is cut after the last answer, as transformers and vLLM do."""
    prompt = PROMPTS[number]
    beginning = f"{start}{beginning}."  # formats that strip newlines would strip a prefill's too
    last = {"role": "assistant", "content": beginning, "name": author}
    conversation = [message(sent) for sent in [*messages, last]]
    prefilled = rendered(number, [*messages, last], add_generation_prompt=False)
    expected = compose(prompt, conversation, prefill=True).prompt + prompt.format.turn_end
    assert prefilled == expected


def test_tools_must_be_enabled() -> None:
    """Refuse a request with tools where the template has none; an empty list is fine."""
    messages = [{"role": "user", "content": "Hi"}]
    with pytest.raises(TemplateError, match="leave them out"):
        rendered(0, messages, **_with(TOOLS))
    assert rendered(0, messages, tools=[]) == rendered(0, messages)


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        ({"role": "critic", "content": "Hi"}, "Unknown role"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "text only"),
    ],
)
def test_unsupported_messages(sent: OpenAIMessage, part: str) -> None:
    """Refuse unknown roles and content other than text."""
    with pytest.raises(TemplateError, match=part):
        rendered(0, [sent])


def test_bos_token_can_be_omitted() -> None:
    """Leave ``bos_token`` out of the template without ``bos``."""
    assert "bos_token" in chat_template(PROMPTS[0])
    assert "bos_token" not in chat_template(PROMPTS[0], bos=False)


def _with(tools: tuple[Tool, ...]) -> dict[str, Any]:
    return {"tools": [openai_tool(tool) for tool in tools]}
