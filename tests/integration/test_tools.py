"""Tools and typed answers with the real base model, greedy."""

from __future__ import annotations

import json

import pytest

from urial_core import (
    GenerationParameters,
    JsonSchema,
    Message,
    Reply,
    Tool,
    ToolCall,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel

pytestmark = pytest.mark.model

DOUBLE = Tool.of(
    "double_it",
    "Doubles a whole number.",
    {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
)
WEATHER = Tool.of(
    "get_weather",
    "Get the weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLIENT = Tool.of(
    "new_client",
    "Make an entry for a client.",
    {"type": "object", "properties": {"client_name": {"type": "string"}}},
)
ASKED = "What is double_it(6)? Use the tool."


@pytest.fixture
def chat(llama: LlamaCppModel) -> UrialChat:
    return UrialChat(llama, load_prompt("default"))


@pytest.fixture
def exact_chat(demo_model: TransformersModel) -> UrialChat:
    """The same in float32: whether a model this small calls a tool depends on rounding."""
    return UrialChat(demo_model, load_prompt("default"))


def ask(chat: UrialChat, use: ToolUse, *messages: Message) -> Reply:
    """Get a reply."""
    parameters = GenerationParameters(max_tokens=60, temperature=0.0)
    return chat.reply([chat.request(messages, parameters, tools=use)])[0]


@pytest.mark.parametrize("choice", ["auto", pytest.param("required", marks=pytest.mark.matrix)])
@pytest.mark.matrix
def test_a_number_is_copied(exact_chat: UrialChat, choice: str) -> None:
    """When asked to use a tool, the model calls it once, with the question's number."""
    use = ToolUse((DOUBLE,), choice=choice)  # type: ignore[arg-type]
    reply = ask(exact_chat, use, Message("user", ASKED))
    assert [(call.name, call.values) for call in reply.tool_calls] == [("double_it", {"number": 6})]
    assert reply.end.reason == "tool_calls"
    assert reply.text == ""


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["江戸屋", "Łódź Żabka", "شركة النور"])
def test_unicode_is_copied(chat: UrialChat, name: str) -> None:
    """Letters of any script come through as they are."""
    reply = ask(
        chat,
        ToolUse((CLIENT,), choice="required"),
        Message("user", f"Make an entry for the client '{name}'."),
    )
    assert reply.tool_calls[0].values["client_name"] == name
    assert name in reply.tool_calls[0].arguments


@pytest.mark.matrix
def test_an_agent_s_turn(exact_chat: UrialChat) -> None:
    """A question gets a call, and the call's result an answer that uses it."""
    use, question = ToolUse((WEATHER,)), Message("user", "What is the weather in Lyon?")
    (call,) = ask(exact_chat, use, question).tool_calls
    assert call.values == {"city": "Lyon"}
    called = Message("assistant", "", tool_calls=(call,))
    result = Message("tool", "Cloudy, 14 degrees", tool_call_id=call.id)
    reply = ask(exact_chat, use, question, called, result)
    assert reply.tool_calls == ()
    assert "14" in reply.text


def test_no_tool_is_needed(exact_chat: UrialChat) -> None:
    """A question that needs no tool is answered."""
    reply = ask(exact_chat, ToolUse((WEATHER,)), Message("user", "Why is the sky blue?"))
    assert reply.tool_calls == ()
    assert reply.text


def test_a_named_tool_is_called(chat: UrialChat) -> None:
    """A forced tool is called, where nothing asks for it."""
    use = ToolUse((WEATHER, DOUBLE), forced="double_it")
    (call,) = ask(chat, use, Message("user", "Hello! I have 6 apples.")).tool_calls
    assert (call.name, call.values) == ("double_it", {"number": 6})


def test_a_typed_answer(chat: UrialChat) -> None:
    """An answer with a response format has exactly the schema's members."""
    schema = JsonSchema.of(
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "legs": {"type": "integer"}},
            "required": ["name", "legs"],
        }
    )
    parameters = GenerationParameters(max_tokens=60, temperature=0.0)
    request = chat.request(
        [Message("user", "Describe a spider.")], parameters, response_format=schema
    )
    answer = json.loads(chat.reply([request])[0].text)
    assert set(answer) == {"name", "legs"}
    assert isinstance(answer["legs"], int)


@pytest.mark.matrix
def test_history_with_errors(chat: UrialChat) -> None:
    """Failed results, and calls whose results have no names, are read as well."""
    call = ToolCall("double_it", '{"number": "six"}', "1")
    reply = ask(
        chat,
        ToolUse((DOUBLE,), choice="none"),
        Message("user", ASKED),
        Message("assistant", "Let me see.", tool_calls=(call,)),
        Message("tool", "'six' is not a whole number", tool_call_id="1", failed=True),
    )
    assert reply.text
