"""Calls of tools as LlamaIndex's agents read them."""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

import pytest
from fake_llms import PROMPT
from llama_index.core import PromptTemplate
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.program.function_program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from llamaindex_urial import UrialLLM
from urial_core import ParameterError, UnsupportedSchemaError
from urial_core.testing import FakeModel

CALL = "# Tool call:\n````\n"
ANSWER = "# Answer:\n````\n"
NAMES = ["my.tool", "search docs", "wetter_in_köln", "天気", 'a "quoted" one']
"""Names that OpenAI's API would refuse."""

_T = TypeVar("_T")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOL = FunctionTool.from_defaults(add)


class Box(BaseModel, Generic[_T]):
    """A box."""

    value: _T


def llm_of(*responses: Any, **fields: Any) -> UrialLLM:
    """Return an LLM around a fake model that is not constrained."""
    return UrialLLM(llm=FakeModel(*responses), prompt=PROMPT, **fields)


def calls_in(response: Any) -> list[tuple[str, Any]]:
    """The calls in a response."""
    blocks = response.message.blocks
    return [(b.tool_name, b.tool_kwargs) for b in blocks if isinstance(b, ToolCallBlock)]


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_call_is_a_block_and_no_text(way: str) -> None:
    """The text of the call's turn is a call, and none of it leaks as text."""
    llm = llm_of([CALL, '{"name": "add", "argu', 'ments": {"a": 1, "b": "2"}}', "\n````\n"])
    if way == "whole":
        response = llm.chat_with_tools([TOOL], "What is 1 plus 2?")
    else:
        items = list(llm.stream_chat_with_tools([TOOL], "What is 1 plus 2?"))
        assert not any(item.delta for item in items)
        response = items[-1]
    assert calls_in(response) == [("add", {"a": 1, "b": 2})]  # "2" is put right
    assert response.message.content is None
    assert response.raw["finish_reason"] == "tool_calls"
    [selection] = llm.get_tool_calls_from_response(response)
    assert selection.tool_kwargs == {"a": 1, "b": 2}


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_a_call_that_cannot_be_made_reaches_the_agent(way: str) -> None:
    """A call that stays invalid is still reported, so that the agent can tell the model."""
    invalid = [CALL, '{"name": "add", "arguments": {"a": 1}}\n````\n']
    llm = llm_of(invalid, [' {"a": 2}}\n````\n'])
    if way == "whole":
        response = llm.chat_with_tools([TOOL], "What is 1 minus 2?")
    else:
        response = list(llm.stream_chat_with_tools([TOOL], "What is 1 minus 2?"))[-1]
    assert calls_in(response) == [("add", {"a": 2})]
    assert "'b' is a required property" in response.raw["invalid_tool_calls"][0]["error"]


def test_an_answer_is_an_answer() -> None:
    """With tools bound, a reply may still be text; asking for its calls is an error if wished."""
    llm = llm_of(["# Answer:\n````\n", "Three.", "\n````\n"])
    response = llm.chat_with_tools([TOOL], "What is 1 plus 2?")
    assert response.message.content == "Three."
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="Expected at least one tool call"):
        llm.get_tool_calls_from_response(response)


def test_the_tools_and_the_choice_stand_on_the_page() -> None:
    """The model sees each tool with its schema; a tool that must be called is begun for it."""
    llm = llm_of([' {"a": 1, "b": 2}}', "\n````\n"])
    response = llm.chat_with_tools([TOOL], "What is 1 plus 2?", tool_required=True)
    page = llm.llm.requests[0].prompt
    assert "Add two numbers." in page
    assert '"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}' in page
    assert page.endswith('# Tool call:\n````\n{"name": "add", "arguments":')
    assert calls_in(response) == [("add", {"a": 1, "b": 2})]


def test_the_history_given_is_left_as_it_is() -> None:
    """The question is added to a copy of the history."""
    history = [ChatMessage(role="user", content="Hi"), ChatMessage(role="assistant", content="Hi!")]
    llm_of(["# Answer:\n````\nThree."]).chat_with_tools([TOOL], "And now?", history)
    assert len(history) == 2


def test_wrong_tools_are_told_before_the_model_runs() -> None:
    """An unknown tool or an invalid schema is an error that names it."""
    llm = llm_of(["x"])
    with pytest.raises(ParameterError, match="tool_choice is 'sub', but the tools are add: name"):
        llm.chat_with_tools([TOOL], "Hi", tool_choice="sub")
    for choice in ["add"], {"tool": {"name": "sub"}}:
        with pytest.raises(ParameterError, match=r"tool_choice is .*, but the tools are add: name"):
            llm.chat_with_tools([TOOL], "Hi", tool_choice=choice)
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "objekt"}}}
    with pytest.raises(UnsupportedSchemaError, match="objekt"):
        llm.complete("Hi", response_format=form)
    assert llm.llm.requests == []


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_is_called_by_any_name(name: str) -> None:
    """A call has its tool's name as LlamaIndex knows it, whatever characters the name holds."""
    tool = FunctionTool.from_defaults(add, name=name)
    written = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {{"a": 1, "b": 2}}}}'
    llm = llm_of([CALL, f"{written}\n````\n"])
    response = llm.chat_with_tools([tool, TOOL], "What is 1 plus 2?")
    assert [call.tool_name for call in llm.get_tool_calls_from_response(response)] == [name]
    assert llm.predict_and_call([tool, TOOL], "What is 1 plus 2?").response == "3"


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_is_chosen_by_any_name(name: str) -> None:
    """``tool_choice`` takes the tool, or its name in every form."""
    tool = FunctionTool.from_defaults(add, name=name)
    function = {"type": "function", "function": {"name": name}}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [function]}
    for choice in (name, function, {"name": name}, {"tool": {"name": name}}, tool, allowed):
        llm = llm_of([' {"a": 1, "b": 2}}', "\n````\n"])
        response = llm.chat_with_tools([TOOL, tool], "What is 1 plus 2?", tool_choice=choice)
        assert calls_in(response) == [(name, {"a": 1, "b": 2})]


@pytest.mark.parametrize("choice", ["any", "required", True, {"type": "any"}, {"any": {}}])
def test_a_call_is_required_in_any_words(choice: Any) -> None:
    """A required call is begun for the model, whichever provider's word requires it."""
    llm = llm_of([' {"a": 1, "b": 2}}', "\n````\n"])
    response = llm.chat_with_tools([TOOL], "What is 1 plus 2?", tool_choice=choice)
    assert calls_in(response) == [("add", {"a": 1, "b": 2})]


@pytest.mark.parametrize("name", NAMES)
async def test_an_agent_calls_a_tool_by_any_name(name: str) -> None:
    """An agent finds the called tool, and its history shows the model the same name again."""
    tool = FunctionTool.from_defaults(add, name=name)
    llm = llm_of([' {"a": 1, "b": 2}}', "\n````\n"], [ANSWER, "Three.", "\n````\n"])
    agent = FunctionAgent(tools=[tool], llm=llm, initial_tool_choice=name, streaming=False)
    run = await agent.run("What is 1 plus 2?")
    assert str(run) == "Three."
    assert [(call.tool_name, call.tool_output.content) for call in run.tool_calls] == [(name, "3")]
    history = llm.llm.requests[-1].prompt
    assert f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {{"a"' in history
    assert f"{name}\n3" in history


def test_a_generic_class_is_predicted_by_a_function_call() -> None:
    """A program that calls a function finds that of a generic class, whose name has brackets."""
    forced = [' {"value": 3}}', "\n````\n"]
    chosen = [CALL, '{"name": "Box[int]", "arguments": {"value": 3}}', "\n````\n"]
    llm = llm_of(forced, forced, chosen, pydantic_program_mode=PydanticProgramMode.FUNCTION)
    question = PromptTemplate("Which number?")
    assert llm.structured_predict(Box[int], question) == Box[int](value=3)
    program = FunctionCallingProgram.from_defaults(Box[int], prompt=question, llm=llm)
    assert program() == Box[int](value=3)
    assert list(llm.stream_structured_predict(Box[int], question))[-1] == Box[int](value=3)


def test_a_tool_without_a_name_is_refused() -> None:
    """A tool without a name is an error of this package, which says what a tool must have."""
    unnamed = FunctionTool(add, metadata=ToolMetadata(description="Adds."))
    with pytest.raises(ParameterError, match="is not a function"):
        llm_of(["x"]).chat_with_tools([unnamed], "Hi")


@pytest.mark.parametrize(
    ("text", "fields", "is_repeated"),
    [
        ("Encountered error: timed out", {}, True),
        ("timed out", {"is_error": True}, True),
        ("Encountered error: none since May", {"is_error": False}, False),
        ("3", {}, False),
    ],
)
def test_a_failed_call_is_made_once_more(
    text: str, fields: dict[str, bool], *, is_repeated: bool
) -> None:
    """An error that the tool message shows lets the call be made again; a result does not."""
    made = '# Tool call:\n````\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n````\n'
    call = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1, "b": 2})
    history = [
        ChatMessage(content="Add 1 and 2."),
        ChatMessage(role="assistant", blocks=[call]),
        ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": "1", **fields}),
    ]
    tools = [FunctionTool.from_defaults(add)]
    response = llm_of([made], ["Three.\n````\n"]).chat_with_tools(tools, chat_history=history)
    assert bool(calls_in(response)) is is_repeated
