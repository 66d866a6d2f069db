"""Replies that ``max_tokens`` cut, in LlamaIndex's terms."""

from __future__ import annotations

from typing import Any

import pytest
from fake_llms import PROMPT
from llama_index.core import get_response_synthesizer
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.program.function_program import FunctionCallingProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from llamaindex_urial import UrialLLM
from urial_core import CompletionChunk, GenerationError, ModelFeatures
from urial_core.testing import FakeModel

ENFORCING = ModelFeatures(enforces_choices=True, enforces_json=True)


class City(BaseModel):
    """A city."""

    city: str
    year: int = 0


def write(path: str) -> str:
    """Write a file."""
    return path


TOOL = FunctionTool.from_defaults(write)


def llm_of(*pieces: str, closing: str) -> UrialLLM:
    """Return an LLM whose engine closes what it wrote at ``max_tokens``."""
    chunks = [CompletionChunk(piece) for piece in pieces]
    last = CompletionChunk(closing, finish="length", closing=closing)
    return UrialLLM(llm=FakeModel([*chunks, last], features=ENFORCING), prompt=PROMPT)


async def ask_with_tools(way: str, llm: UrialLLM) -> Any:
    """Return the whole response, or the last of a stream."""
    arguments: Any = {"tools": [TOOL], "user_msg": "Write.", "tool_required": True}
    match way:
        case "whole":
            return llm.chat_with_tools(**arguments)
        case "async":
            return await llm.achat_with_tools(**arguments)
        case "streamed":
            return list(llm.stream_chat_with_tools(**arguments))[-1]
    return [item async for item in await llm.astream_chat_with_tools(**arguments)][-1]


@pytest.mark.parametrize("way", ["whole", "async", "streamed", "async streamed"])
async def test_a_call_that_was_cut_is_no_call(way: str) -> None:
    """It is left out of the calls; the reason is in ``raw`` and in the error, whoever asks."""
    llm = llm_of('{"name": "write", "arguments": ', '{"path": "a', closing='"}}')
    response = await ask_with_tools(way, llm)
    assert response.raw["finish_reason"] == "length"
    assert response.raw["invalid_tool_calls"][0]["text"] == '{"path": "a'
    assert "tool_calls" not in response.message.additional_kwargs
    for required in (True, False):
        with pytest.raises(GenerationError, match="max_tokens ran out"):
            llm.get_tool_calls_from_response(response, error_on_no_tool_call=required)


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_does_not_end_with_nothing(streaming: bool) -> None:
    """Where all that the model wrote is a cut call, the agent's run is an error with the reason."""
    cut = '# Tool call:\n````\n{"name": "write", "arguments": {"path": "a'
    llm = UrialLLM(llm=FakeModel([CompletionChunk(cut, finish="length")]), prompt=PROMPT)
    agent = FunctionAgent(tools=[TOOL], llm=llm, streaming=streaming)
    with pytest.raises(GenerationError, match="max_tokens ran out"):
        await agent.run("Write.")


SECOND = ' {"city": "Nice"}}\n{"name": "City", "arguments": '
"""A valid call, and the beginning of a second one."""


@pytest.mark.parametrize(
    ("responses", "error"),
    [
        ([[CompletionChunk(' {"city": "Ni', finish="length")]], "max_tokens ran out"),
        ([[CompletionChunk(SECOND + '{"city": "Ni', finish="length")]], "max_tokens ran out"),
        ([[SECOND + "Rome}\n````\n"], [" Rome}\n````\n"]], "not JSON"),
        ([[' {"town": "Nice"}}\n````\n'], [' {"town": "Nice"}}\n````\n']], "'city' is a required"),
    ],
)
async def test_objects_by_calls_are_all_there_or_an_error(responses: list[Any], error: str) -> None:
    """A program raises if any call is invalid: it returns objects, which show no gap."""
    tool = FunctionTool.from_defaults(City, name="City")
    arguments: dict[str, Any] = {"tool_required": True, "allow_parallel_tool_calls": True}

    def llm() -> UrialLLM:
        return UrialLLM(llm=FakeModel(*responses), prompt=PROMPT)

    def program() -> FunctionCallingProgram[City]:
        return FunctionCallingProgram(City, llm(), PromptTemplate("Where?"), **arguments)

    with pytest.raises(GenerationError, match=error):
        program()()
    with pytest.raises(GenerationError, match=error):
        await program().acall()
    with pytest.raises(GenerationError, match=error):
        llm().predict_and_call([tool], "Where?", **arguments)
    with pytest.raises(GenerationError, match=error):
        await llm().apredict_and_call([tool], "Where?", **arguments)


def test_an_agent_gets_the_calls_beside_a_cut_one() -> None:
    """It acts on those that are whole, and asks again."""
    llm = UrialLLM(
        llm=FakeModel([CompletionChunk(SECOND + '{"city": "Ni', finish="length")]), prompt=PROMPT
    )
    tool = FunctionTool.from_defaults(City, name="City")
    response = llm.chat_with_tools(
        [tool], "Where?", tool_required=True, allow_parallel_tool_calls=True
    )
    [call] = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    assert call.tool_kwargs == {"city": "Nice"}


def test_a_cut_object_is_no_empty_response() -> None:
    """LlamaIndex's ``Refine`` swallows a ``ValueError``, and this error is none."""
    llm = UrialLLM(llm=FakeModel([CompletionChunk(' {"answer": "blue and', finish="length")]))
    refine = get_response_synthesizer(
        llm, response_mode=ResponseMode.REFINE, structured_answer_filtering=True
    )
    with pytest.raises(GenerationError, match="max_tokens ran out") as caught:
        refine.get_response("Which colour?", ["The sky is blue and grey."])
    assert caught.value.text == '{"answer": "blue and'


async def predict(way: str, llm: UrialLLM) -> Any:
    """Return an object, or read all of a stream."""
    prompt, messages = PromptTemplate("Where?"), [ChatMessage(content="Where?")]
    structured = llm.as_structured_llm(City)
    match way:
        case "structured_predict":
            return llm.structured_predict(City, prompt)
        case "astructured_predict":
            return await llm.astructured_predict(City, prompt)
        case "stream_structured_predict":
            return list(llm.stream_structured_predict(City, prompt))
        case "astream_structured_predict":
            stream = await llm.astream_structured_predict(City, prompt)
            return [item async for item in stream]
        case "chat":
            return structured.chat(messages)
        case "achat":
            return await structured.achat(messages)
        case "stream_chat":
            return list(structured.stream_chat(messages))
    return [item async for item in await structured.astream_chat(messages)]


@pytest.mark.parametrize("written", ['{"city": "', '{"city": "Par', '{"city": "Paris"'])
@pytest.mark.parametrize(
    "way",
    [
        "structured_predict",
        "astructured_predict",
        "stream_structured_predict",
        "astream_structured_predict",
        "chat",
        "achat",
        "stream_chat",
        "astream_chat",
    ],
)
async def test_an_object_that_was_cut_is_an_error(way: str, written: str) -> None:
    """What there is of it is in the error; nothing is filled in."""
    closing = "}" if written.endswith('s"') else '"}'
    with pytest.raises(GenerationError, match="max_tokens ran out") as caught:
        await predict(way, llm_of(written, closing=closing))
    assert caught.value.text == written


@pytest.mark.parametrize("mode", ["default", "function", "llm"])
async def test_a_cut_object_is_an_error_in_every_mode(mode: str) -> None:
    """What asks for it, and how, makes no object of it."""
    ways = ("structured_predict", "stream_structured_predict")
    for each in (*ways, *(f"a{way}" for way in ways)):
        llm = UrialLLM(
            llm=FakeModel([CompletionChunk('{"city": "Par', finish="length")]),
            pydantic_program_mode=PydanticProgramMode(mode),
        )
        with pytest.raises(GenerationError, match="max_tokens ran out"):
            await predict(each, llm)


async def test_an_object_of_which_nothing_was_written_is_an_error() -> None:
    """A stream without an object says why it has none."""
    for way in ("structured_predict", "stream_structured_predict"):
        with pytest.raises(GenerationError, match="max_tokens ran out"):
            await predict(way, llm_of(closing='{"city": ""}'))
