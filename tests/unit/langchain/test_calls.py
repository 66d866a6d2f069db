"""Calls: the arguments of one call, and their precedence."""

from __future__ import annotations

from typing import Any

import pytest
from fake_models import END, PROMPT, EchoModel, PlainLLM, StreamingLLM, chat_of
from langchain_core.messages import AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool

from langchain_urial import ChatUrial
from urial_core.errors import ParameterError, UnsupportedModelError
from urial_core.testing import FakeModel


@pytest.mark.parametrize(
    ("name", "own", "of_call"),
    [
        ("max_tokens", 50, 7),
        ("temperature", 0.5, 0.0),
        ("top_p", 0.5, 0.9),
        ("top_k", 5, 0),
        ("repetition_penalty", 1.2, 1.0),
        ("frequency_penalty", 0.5, -0.5),
        ("presence_penalty", 0.5, 0.0),
        ("seed", 1, 0),
    ],
)
async def test_a_call_overrides_the_chat_model(name: str, own: float, of_call: float) -> None:
    """A call's argument takes precedence over the field, in all four ways; None is unset."""
    chat = chat_of(**{name: own})
    chat.invoke("Hi")
    chat.invoke("Hi", **{name: None})
    chat.invoke("Hi", **{name: of_call})
    await chat.ainvoke("Hi", **{name: of_call})
    list(chat.stream("Hi", **{name: of_call}))
    [_ async for _ in chat.astream("Hi", **{name: of_call})]
    chat.bind(**{name: of_call}).invoke("Hi")
    found = [getattr(request.parameters, name) for request in chat.llm.requests]
    assert found == [own, own, *[of_call] * 5]


def test_stop_strings_add_up() -> None:
    """The call's stop strings come first, then the chat model's, then the wrapped LLM's."""
    llm = PlainLLM(reply=f"one two three four{END}")
    chat = ChatUrial(llm=llm.bind(stop=["four"]), prompt=PROMPT, stop=["three"])
    assert chat.invoke("Hi", stop=["two"]).content == "one"
    assert chat.invoke("Hi").content == "one two"
    assert llm.seen[0]["stop"][2:] == ["two", "three", "four"]
    assert ChatUrial(llm=llm.bind(stop=["four"])).invoke("Hi").content == "one two three"


@pytest.mark.parametrize("stop", ["two", ["two"], ("two",)])
def test_one_stop_string_may_stand_alone(stop: Any) -> None:
    """A bare string is one stop string, as in the OpenAI API, and not one for each letter."""
    chat = chat_of("one two three")
    assert chat.invoke("Hi", stop=stop).content == "one"
    bound = PlainLLM(reply="one two three").bind(stop=stop)
    assert ChatUrial(llm=bound, prompt=PROMPT).invoke("Hi").content == "one"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("llm", [FakeModel(), StreamingLLM()])
@pytest.mark.parametrize("bound", [{}, {"function_call": {"name": "f"}}])
def test_functions_are_refused_with_what_replaced_them(llm: Any, bound: dict[str, Any]) -> None:
    """OpenAI's former function calling is an error before any model runs, a wrapped one's too."""
    chat = ChatUrial(llm=llm, prompt=PROMPT).bind(functions=[FUNCTION], **bound)
    match = r"^functions.*Use tools=.*bind_tools.*create_tool_calling_agent"
    with pytest.raises(ParameterError, match=match):
        chat.invoke("Hi")
    with pytest.raises(ParameterError, match="tool_choice=" if bound else match):
        list(chat.stream("Hi"))
    assert not (llm.requests if isinstance(llm, FakeModel) else llm.seen)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_langchains_former_agents_and_chains_report_what_to_use() -> None:
    """``create_openai_functions_agent`` and ``create_extraction_chain`` end in that error."""
    agents = pytest.importorskip("langchain_classic.agents")
    chains = pytest.importorskip("langchain_classic.chains")
    prompt = ChatPromptTemplate([("human", "{input}"), ("placeholder", "{agent_scratchpad}")])
    chat = chat_of()
    agent = agents.create_openai_functions_agent(chat, [add], prompt)
    with pytest.raises(ParameterError, match="create_agent or create_tool_calling_agent"):
        agent.invoke({"input": "1 + 1?", "intermediate_steps": []})
    chain = chains.create_extraction_chain({"properties": {"name": {"type": "string"}}}, chat)
    with pytest.raises(ParameterError, match=r"function_call.*with_structured_output"):
        chain.invoke({"input": "Ann is here."})
    assert chat.llm.requests == []


def test_an_unknown_parameter_is_an_error_or_the_llms_own() -> None:
    """A CompletionModel has no other parameters; a LangChain LLM may, and gets them."""
    with pytest.raises(ParameterError, match=r"Unknown parameter temprature.*temperature"):
        chat_of().invoke("Hi", temprature=0.5)
    llm = StreamingLLM()
    chat = ChatUrial(llm=llm, prompt=PROMPT)
    chat.invoke("Hi", logit_bias={"1": 2})
    list(chat.stream("Hi", logit_bias={"1": 2}))
    assert [call["logit_bias"] for call in llm.seen] == [{"1": 2}] * 2


@pytest.mark.parametrize("name", ["temperature", "max_tokens"])
async def test_an_invalid_value_is_an_error_of_the_call(name: str) -> None:
    """A value out of range is refused, and nothing is asked of the model."""
    chat = chat_of()
    with pytest.raises(ParameterError, match=f"{name} is -1"):
        chat.invoke("Hi", **{name: -1})
    with pytest.raises(ParameterError, match=f"{name} is -1"):
        await chat.ainvoke("Hi", **{name: -1})
    assert chat.llm.requests == []


@pytest.mark.parametrize("kwargs", [{"tools": []}, {"tools": None, "response_format": None}])
def test_no_tools_at_all_are_no_matter(kwargs: dict[str, Any]) -> None:
    """Agents without tools pass empty lists; that is not asking for tools."""
    assert chat_of().invoke("Hi", **kwargs).content == "Hello!"


@pytest.mark.needs("torch")
def test_another_model_can_be_named_where_there_can_be_one() -> None:
    """A model named by id can be exchanged in a call; one that was handed over cannot."""
    chat = ChatUrial(model="some/model")
    call = chat._call({"model": "other/model"})
    assert (call.model_name, call.chat.model.name) == ("other/model", "other/model")
    assert chat._call({"model": "some/model"}).chat.model is chat.urial.model
    wrapped = chat_of()
    assert wrapped.invoke("Hi", model="fake").content == "Hello!"
    with pytest.raises(UnsupportedModelError, match="FakeModel serves one model"):
        wrapped.invoke("Hi", model="other/model")
    with pytest.raises(UnsupportedModelError, match="PlainLLM serves one model"):
        ChatUrial(llm=PlainLLM()).invoke("Hi", model="other/model")


def test_a_final_ai_message_is_continued_only_when_asked() -> None:
    """With ``prefill`` the prompt ends with the message's text; without, a new turn follows."""
    chat = chat_of("me.")
    turns = [("human", "Who is it?"), ("ai", "It is ")]
    chat.invoke(turns)
    assert chat.llm.requests[-1].prompt.endswith("It is \n````\n\n# Answer:\n````\n")
    assert chat.invoke(turns, prefill=True).content == "me."
    assert chat.model_copy(update={"prefill": True}).invoke(turns).content == "me."
    assert [request.prompt[-6:] for request in chat.llm.requests[1:]] == ["It is "] * 2


async def test_several_replies_have_seeds_of_their_own() -> None:
    """``n`` replies are one batch of the model's, reply *i* with ``seed + i``."""
    model = EchoModel()
    chat = ChatUrial(llm=model, prompt=PROMPT, seed=5, n=3)
    result = chat.generate([chat._convert_input("Hi").to_messages()])
    assert [generation.text for generation in result.generations[0]] == ["re: Hi"] * 3
    assert model.calls == [["Hi"] * 3]
    assert [(r.parameters.seed, r.parameters.n) for r in model.requests] == [(5, 1), (6, 1), (7, 1)]
    assert (await chat.ainvoke("Hi", n=2)).content == "re: Hi"
    assert len(model.calls[1]) == 2


@pytest.mark.parametrize("how", ["argument", "field", "neither"])
async def test_invoke_streams_inside_only_when_asked(how: str) -> None:
    """``stream=True`` and ``streaming=True`` change how the model is asked, not the reply."""
    model = EchoModel()
    chat = ChatUrial(llm=model, prompt=PROMPT, **({"streaming": True} if how == "field" else {}))
    kwargs: dict[str, Any] = {"stream": True} if how == "argument" else {}
    message = chat.invoke("Hi", **kwargs)
    assert message.content == (await chat.ainvoke("Hi", **kwargs)).content == "re: Hi"
    assert message.response_metadata["finish_reason"] == "stop"
    assert bool(model.calls) == (how == "neither")
    assert bool(model.streams) == (how != "neither")


def test_what_was_set_on_the_llm_is_kept_until_something_else_is_set() -> None:
    """The chat model's and the call's parameters take precedence over those bound to the LLM."""
    bound = PlainLLM().bind(temperature=0.3, max_tokens=20, logit_bias={"1": 2})
    chat = ChatUrial(llm=bound, prompt=PROMPT)
    parameters = chat._call({}).parameters
    assert (parameters.temperature, parameters.max_tokens) == (0.3, 20)
    parameters = chat.model_copy(update={"temperature": 0.0})._call({"max_tokens": 5}).parameters
    assert (parameters.temperature, parameters.max_tokens) == (0.0, 5)


def test_a_stream_of_an_empty_answer_still_ends_properly() -> None:
    """Even where the model has nothing to say, the stream has a last chunk with the reason."""
    chunks = list(ChatUrial(llm=FakeModel([END]), prompt=PROMPT).stream("Hi"))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert (whole.content, whole.response_metadata["finish_reason"]) == ("", "stop")


def test_what_other_chat_models_take_in_a_call_is_accepted() -> None:
    """Provider keys and unset values are ignored, other names understood, and tools limited."""
    chat = chat_of("Fine.")
    reply = chat.invoke(
        "Hi",
        reasoning_effort="low",
        stream_options={"include_usage": True},
        parallel_tool_calls=True,
        response_format={"type": "text"},
        max_completion_tokens=9,
        logit_bias={},
        extra_body={},
    )
    assert reply.text == "Fine."
    assert chat.llm.requests[0].parameters.max_tokens == 9
    tools = [{"name": name, "description": name, "parameters": {}} for name in ("add", "now")]
    bound = chat.bind_tools(tools, allowed_tools=["now"], tool_choice="none")
    bound.invoke("Hi")
    prompt = chat.llm.requests[-1].prompt
    assert '{"name": "now", "description": "now"' in prompt
    assert '{"name": "add", "description": "add"' not in prompt
