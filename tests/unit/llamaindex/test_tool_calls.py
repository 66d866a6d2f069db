"""Calls of tools as LlamaIndex's agents read them."""

from __future__ import annotations

from typing import Any

import pytest
from fake_llms import PROMPT
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.tools import FunctionTool

from llamaindex_urial import UrialLLM
from urial_core import ParameterError, UnsupportedSchemaError
from urial_core.testing import FakeModel

CALL = "# Tool call:\n````\n"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOL = FunctionTool.from_defaults(add)


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
    with pytest.raises(ParameterError, match="'sub' is to be called, but the tools are add"):
        llm.chat_with_tools([TOOL], "Hi", tool_choice="sub")
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "objekt"}}}
    with pytest.raises(UnsupportedSchemaError, match="objekt"):
        llm.complete("Hi", response_format=form)
    assert llm.llm.requests == []
