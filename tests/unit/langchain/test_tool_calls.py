"""Tool calls in every way to invoke the chat model, and what LangChain does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, TypedDict

import pytest
from fake_models import END, JUNK, PROMPT, EchoModel, ReportingModel, chat_of
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_urial import ChatUrial
from urial_core import CompletionChunk
from urial_core.completion import ModelFeatures
from urial_core.errors import ParameterError, UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.testing import FakeModel

ADD = '{"name": "add", "arguments": {"a": 127, "b": 12}}'
NOW = '{"name": "now", "arguments": {}}'
WAYS = ["invoke", "ainvoke", "stream", "astream"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def now() -> str:
    """Return the time."""
    return "noon"


class Fruit(BaseModel):
    """A fruit."""

    name: str
    colours: list[str]


class FruitDict(TypedDict):
    """A fruit."""

    name: str


class Ripeness(Enum):
    """How ripe a fruit is."""

    GREEN = "green"
    RIPE = "ripe"


def calling(*lines: str) -> str:
    """What a model writes that calls tools, and then runs on."""
    return "# Tool call:\n````\n" + "\n".join(lines) + END + JUNK


def answering(text: str) -> str:
    """What a model writes that could call and answers."""
    return f"# Answer:\n````\n{text}{END}{JUNK}"


def pieces(text: str) -> list[str]:
    """The text in pieces of three characters."""
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def ask(way: str, chat: Any, *args: Any, **kwargs: Any) -> AIMessage:
    """One reply, whichever way."""

    async def added() -> AIMessage:
        return total([chunk async for chunk in chat.astream(*args, **kwargs)])

    ways: dict[str, Callable[[], AIMessage]] = {
        "invoke": lambda: chat.invoke(*args, **kwargs),
        "ainvoke": lambda: asyncio.run(chat.ainvoke(*args, **kwargs)),
        "stream": lambda: total(list(chat.stream(*args, **kwargs))),
        "astream": lambda: asyncio.run(added()),
    }
    return ways[way]()


def total(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    """The sum of chunks."""
    return chunks[0] + chunks[1:]  # type: ignore[return-value]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("choice", [None, "any"])
def test_every_way_gives_the_same_calls(way: str, choice: str | None) -> None:
    """Asked in any way, the reply holds the calls, ids of their own, and no text."""
    begun = f"{ADD}\n{NOW}{END}{JUNK}".removeprefix('{"name":')  # the prompt has opened a call
    script = begun if choice else calling(ADD, NOW)
    chat = chat_of(pieces(script)).bind_tools([add, now], tool_choice=choice)
    message = ask(way, chat, "Add, and give the time.")
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [
        ("add", {"a": 127, "b": 12}),
        ("now", {}),
    ]
    assert len({c["id"] for c in message.tool_calls}) == 2
    assert message.content == ""
    assert message.invalid_tool_calls == []
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.usage_metadata is not None


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_needs_no_tool(way: str) -> None:
    """With tools bound, a reply may still be text, and then holds no call."""
    chat = chat_of(pieces(answering("Hello!"))).bind_tools([add])
    message = ask(way, chat, "Hi")
    assert (message.content, message.tool_calls) == ("Hello!", [])
    assert message.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_cannot_be_made_is_no_exception(way: str) -> None:
    """A call of an unknown tool is reported as invalid, and nothing is executed."""
    broken = '{"name": "add", "arguments": {"a": "many"'
    chat = chat_of(pieces(calling(broken))).bind_tools([add])
    message = ask(way, chat, "Add.")
    assert message.tool_calls == []
    [invalid] = message.invalid_tool_calls
    assert invalid["id"]


def test_streams_follow_langchains_protocol() -> None:
    """Events of version 3, and blocks of version 1, hold the same call as the plain message."""
    chat = chat_of(pieces(calling(ADD))).bind_tools([add])
    stream = chat.stream_events("Add.", version="v3")
    events = list(stream)
    lifecycle = pytest.importorskip("langchain_tests.utils.stream_lifecycle")
    lifecycle.assert_valid_event_stream(events)
    assert [(c["name"], c["args"]) for c in stream.output.tool_calls] == [
        ("add", {"a": 127, "b": 12})
    ]
    new = chat_of(pieces(calling(ADD)), output_version="v1").bind_tools([add])
    for message in (new.invoke("Add."), total(list(new.stream("Add.")))):
        [block] = message.content_blocks
        assert (block["type"], block["name"]) == ("tool_call", "add")


def test_callbacks_see_calls_as_chunks_and_no_structure() -> None:
    """``on_llm_new_token`` is given the pieces of calls, and never a header or a fence as text."""

    class Diary(BaseCallbackHandler):
        def __init__(self) -> None:
            self.text = ""
            self.arguments = ""

        def on_llm_new_token(self, token: str, *, chunk: Any = None, **kwargs: Any) -> None:
            self.text += token
            for piece in chunk.message.tool_call_chunks:
                self.arguments += piece["args"] or ""

    diary = Diary()
    chat = chat_of(pieces(calling(ADD))).bind_tools([add])
    list(chat.stream("Add.", {"callbacks": [diary]}))
    assert diary.text == ""
    assert diary.arguments == '{"a": 127, "b": 12}'


def test_disabled_streaming_with_tools_gives_calls_whole() -> None:
    """With ``disable_streaming="tool_calling"`` a stream has one chunk if tools are bound."""
    script = pieces(calling(ADD))
    chat = chat_of(script, disable_streaming="tool_calling").bind_tools([add])
    chunks = [chunk for chunk in chat.stream("Add.") if chunk.tool_calls]
    assert len(chunks) == 1
    assert chunks[0].tool_calls[0]["args"] == {"a": 127, "b": 12}


def test_a_conversation_with_calls_stands_on_the_page() -> None:
    """Tools, calls, results and failures each have their turn, in order."""
    chat = chat_of(answering("139"))
    chat.bind_tools([add]).invoke(
        [
            HumanMessage("127 + 12?"),
            AIMessage(
                "I add.", tool_calls=[{"name": "add", "args": {"a": 127, "b": 12}, "id": "x"}]
            ),
            ToolMessage("Overheated.", tool_call_id="x", status="error"),
        ]
    )
    prompt = chat.llm.requests[0].prompt.rpartition("127 + 12?")[2]
    headers = [line for line in prompt.splitlines() if line.startswith("# ")]
    assert headers[:3] == ["# Answer:", "# Tool call:", "# Tool result:"]
    assert f"\n{ADD}\n" in prompt
    assert "add (error)\nOverheated." in prompt


def test_tools_are_counted_as_they_stand_on_the_page() -> None:
    """Tokens of tools are added to those of the messages, each tool's own."""
    chat = chat_of()
    messages = [HumanMessage("Hi there")]
    counts = [
        chat.get_num_tokens_from_messages(messages, tools)
        for tools in (None, [], [add], [add, now])
    ]
    assert counts[0] == counts[1] < counts[2] < counts[3]


def test_calls_are_cached_by_their_tools() -> None:
    """The same question with other tools, or another choice, is another entry."""
    chat = chat_of(calling(ADD), cache=InMemoryCache())
    first = chat.bind_tools([add]).invoke("Add.")
    again = chat.bind_tools([add]).invoke("Add.")
    assert again.tool_calls == first.tool_calls
    asked = len(chat.llm.requests)
    chat.bind_tools([add, now]).invoke("Add.")
    chat.bind_tools([add], tool_choice="none").invoke("Add.")
    assert len(chat.llm.requests) > asked + 1


async def test_a_batch_with_tools() -> None:
    """Inputs of a batch, and conversations of ``generate``, are a request each, with tools."""
    model = EchoModel()
    chat = ChatUrial(llm=model, prompt=PROMPT)
    with_tools = chat.bind_tools([add], tool_choice="none")
    with_tools.batch(["a", "b"])
    await with_tools.abatch(["a", "b"])
    chat.generate([[HumanMessage("a")], [HumanMessage("b")]], tools=[add], tool_choice="none")
    assert sorted(model.calls) == [["a"]] * 3 + [["b"]] * 3


@pytest.mark.parametrize("streaming", [None, True])
def test_an_agent_loops_until_the_answer(streaming: Any) -> None:
    """An agent runs the calls and asks again; an invalid call comes back as an error."""
    unfit = '{"name": "add", "arguments": {"a": "many"}}'
    again = unfit.removeprefix('{"name": "add", "arguments":')  # a second try, no better
    responses = [calling(unfit), again, calling(ADD), answering("It is 139.")]
    create_agent = pytest.importorskip("langchain.agents").create_agent
    agent = create_agent(chat_of(*map(pieces, responses), streaming=streaming), [add])
    messages = agent.invoke({"messages": [("human", "127 + 12?")]})["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert messages[1].tool_calls[0]["args"] == {"a": "many"}
    assert messages[2].status == "error"
    assert "valid integer" in messages[2].text
    assert messages[4].text == "139"
    assert messages[5].text == "It is 139."


def test_typed_output_comes_as_objects() -> None:
    """The reply's JSON is an object of the class; as a dict, it grows while it is streamed."""
    fruit = '{"name": "fig", "colours": ["green", "blue"]}'
    script = fruit.removeprefix("{")  # the prompt has opened the object
    chat = chat_of(pieces(f"{script}{END}{JUNK}"))
    assert chat.with_structured_output(Fruit).invoke("A fruit?") == Fruit(
        name="fig", colours=["green", "blue"]
    )
    raw = chat.with_structured_output(Fruit, include_raw=True).invoke("A fruit?")
    assert (raw["raw"].text, raw["parsing_error"]) == (fruit, None)
    assert raw["parsed"] == Fruit(name="fig", colours=["green", "blue"])
    grown = list(chat.with_structured_output(Fruit.model_json_schema()).stream("A fruit?"))
    assert grown[-1] == {"name": "fig", "colours": ["green", "blue"]}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[Fruit], '[{"name": "fig", "colours": []}]', [Fruit(name="fig", colours=[])]),
        (Fruit | None, "null", None),
        (Fruit | int, '{"name": "fig", "colours": []}', Fruit(name="fig", colours=[])),
        (set[str], '["a", "b", "a"]', {"a", "b"}),
        (Literal["yes", "no"], '"no"', "no"),
        (Ripeness, '"ripe"', Ripeness.RIPE),
        (list[FruitDict], '[{"name": "fig"}]', [{"name": "fig"}]),
    ],
)
def test_typed_output_may_be_of_any_type(kind: Any, text: str, value: object) -> None:
    """Lists and unions are types too, and a set may repeat; what does not match is an error."""
    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    chat = ChatUrial(llm=FakeModel(text, features=features), prompt=PROMPT)
    assert chat.with_structured_output(kind).invoke("What?") == value
    wrong = ChatUrial(llm=FakeModel("3.5", "3.5", features=features), prompt=PROMPT)
    with pytest.raises(OutputParserException):
        wrong.with_structured_output(kind).invoke("What?")
    with pytest.raises(ParameterError, match="method='json_schema'"):
        chat.with_structured_output(kind, method="function_calling")


def test_a_decimal_is_written_as_a_number() -> None:
    """Pydantic reads texts as well, but a model would write any; limits are fields."""

    class Price(BaseModel):
        price: Decimal
        notes: list[str]

    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    model = FakeModel('{"price": 2.5, "notes": []}', features=features)
    chat = ChatUrial(llm=model, prompt=PROMPT, max_items=5)
    assert chat.with_structured_output(Price).invoke("?") == Price(price=Decimal("2.5"), notes=[])
    [request] = model.requests
    assert isinstance(request.constraint, JsonSchema)
    properties = request.constraint.schema["properties"]
    assert properties["price"]["type"] == "number"
    assert properties["notes"]["maxItems"] == 6


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_reply_that_was_cut_is_no_object(way: str) -> None:
    """LangChain's parsers would complete it by guessing; here it is an error that says why."""
    model = ReportingModel(CompletionChunk('"name": "fi', finish="length"))
    chat = ChatUrial(llm=model, prompt=PROMPT)
    typed = chat.with_structured_output(Fruit.model_json_schema())
    with pytest.raises(OutputParserException, match="max_tokens"):
        typed.invoke("A fruit?") if way == "invoke" else list(typed.stream("A fruit?"))
    raw = chat.with_structured_output(Fruit, include_raw=True).invoke("A fruit?")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)


@pytest.mark.parametrize("constrained", [True, False])
def test_a_reply_that_does_not_match_is_an_error(constrained: bool) -> None:
    """A dict is validated too; the error names what is invalid and holds the text."""
    unfit = '{"name": "fig"}' if constrained else '"name": "fig"}'
    chat = ChatUrial(
        llm=FakeModel(
            unfit,
            '"name": "fig"}',
            features=ModelFeatures(enforces_choices=constrained, enforces_json=constrained),
        ),
        prompt=PROMPT,
    )
    for schema in (Fruit.model_json_schema(), Fruit):
        typed = chat.with_structured_output(schema)
        for way in (typed.invoke, lambda asked, typed=typed: list(typed.stream(asked))):
            chat.llm.requests.clear()
            with pytest.raises(OutputParserException, match="'colours' is a required") as caught:
                way("A fruit?")
            assert caught.value.llm_output == '{"name": "fig"}'
    chat.llm.requests.clear()
    raw = chat.with_structured_output(Fruit, include_raw=True).invoke("A fruit?")
    assert raw["parsed"] is None
    assert raw["raw"].text == '{"name": "fig"}'
    assert raw["raw"].response_metadata["validation_error"] == "'colours' is a required property"
    assert isinstance(raw["parsing_error"], OutputParserException)


@pytest.mark.parametrize("schema", [Fruit, Fruit.model_json_schema()], ids=["class", "dict"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_arguments_that_do_not_match_are_an_error(schema: Any, way: str) -> None:
    """A call that is invalid twice is no result; the error names what is invalid."""
    unfit = ' {"name": "fig"}}'  # the prompt has opened the call
    typed = chat_of(unfit, unfit).with_structured_output(schema, method="function_calling")
    with pytest.raises(OutputParserException, match="'colours' is a required") as caught:
        typed.invoke("A fruit?") if way == "invoke" else list(typed.stream("A fruit?"))
    assert caught.value.llm_output == '{"name": "fig"}'


def test_one_reply_that_does_not_fit_leaves_the_others_of_its_batch() -> None:
    """The error is that input's alone."""
    responses = ['"name": "fig"}', '"name": "fig"}', '"name": "fig", "colours": []}']
    typed = chat_of(*responses).with_structured_output(Fruit)
    inputs = ["A fruit?", "Another?"]  # one after the other, as are the responses
    wrong, right = typed.batch(inputs, {"max_concurrency": 1}, return_exceptions=True)
    assert isinstance(wrong, OutputParserException)
    assert right == Fruit(name="fig", colours=[])


def test_an_invalid_schema_is_refused_before_the_model_runs() -> None:
    """An invalid JSON schema is an error of this project; the model gets no request."""
    chat = chat_of()
    with pytest.raises(UnsupportedSchemaError, match="The schema is not valid"):
        chat.with_structured_output({"title": "Fruit", "type": "berry"}).invoke("A fruit?")
    with pytest.raises(UnsupportedSchemaError, match="The schema is not valid"):
        chat.bind_tools([{"name": "f", "parameters": {"type": "berry"}}]).invoke("A fruit?")
    assert chat.llm.requests == []
