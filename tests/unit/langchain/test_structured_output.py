"""Structured output: what is bound, and what comes back as objects."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, NotRequired, TypedDict

import pytest
import typing_extensions
from fake_models import END, PROMPT, chat_of
from langchain_core.exceptions import OutputParserException
from langchain_core.runnables import RunnableSequence
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter
from pydantic.v1 import BaseModel as BaseModelV1

from langchain_urial import ChatUrial
from langchain_urial.structured_output import Method, openai_format
from urial_core.completion import ModelFeatures
from urial_core.errors import ParameterError
from urial_core.openai_tools import parse_response_format
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_validation import match_schema
from urial_core.testing import FakeModel


class Fruit(BaseModel):
    """A fruit."""

    name: str
    colour: str = Field(description="Its colour when ripe.")


class OldFruit(BaseModelV1):
    """A fruit."""

    name: str
    colour: str


class FruitDict(TypedDict):
    """A fruit."""

    name: Annotated[str, ..., "What it is called."]
    colour: str


class Tree(BaseModel):
    """A tree with smaller ones."""

    name: str
    branches: list[Tree] = []


class Basket(TypedDict, total=False):  # noqa: D101 - without a description
    fruit: Annotated[list[FruitDict], ..., "What is in it."]
    owner: str | None
    weight: Annotated[int | None, None, "In grams."]
    count: Annotated[int, 1]
    price: Annotated[int, Field(ge=1)]


class Order(typing_extensions.TypedDict):
    """An order."""

    basket: Basket
    note: NotRequired[str]
    address: str | None
    former: list[Order]


class Colour(Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


SCHEMA = Fruit.model_json_schema()
FUNCTION = {"name": "Fruit", "description": "A fruit.", "parameters": SCHEMA}
SCHEMAS = [Fruit, OldFruit, FruitDict, SCHEMA, FUNCTION]
METHODS: list[Method] = ["json_schema", "json_mode", "function_calling"]


def bound(structured: Any) -> dict[str, Any]:
    """What a model with structured output binds to its calls."""
    assert isinstance(structured, RunnableSequence)
    kwargs: dict[str, Any] = structured.first.kwargs
    return kwargs


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(5))
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True, False])
def test_any_schema_is_bound_by_any_method(schema: Any, method: Method, strict: Any) -> None:
    """It is bound as a response format or as the one tool to call, and reported to tracing."""
    kwargs = bound(chat_of().with_structured_output(schema, method=method, strict=strict))
    traced = kwargs["ls_structured_output_format"]
    assert traced["kwargs"]["method"] == method
    assert convert_to_json_schema(traced["schema"]) == convert_to_json_schema(schema)
    if method == "function_calling":
        [written] = kwargs["tools"]
        assert kwargs["tool_choice"]["function"]["name"] == written["function"]["name"]
        assert kwargs["parallel_tool_calls"] is False
        assert set(written["function"]["parameters"]["properties"]) == {"name", "colour"}
    else:
        form = parse_response_format(kwargs["response_format"])
        assert form is not None
        assert set(form.schema["properties"]) == {"name", "colour"}


def test_references_in_a_schema_are_kept() -> None:
    """A class that holds itself keeps its definition, which LangChain's own conversion loses."""
    form = parse_response_format(openai_format(Tree))
    assert form is not None
    assert form.schema["$defs"]["Tree"]["properties"]["branches"]["items"] == {
        "$ref": "#/$defs/Tree"
    }


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "F", "schema": SCHEMA}}, SCHEMA),
        (Fruit, SCHEMA),
        (SCHEMA, SCHEMA),
        (
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "string"}},
        ),
    ],
)
def test_a_response_format_is_written_as_in_the_openai_api(
    response_format: Any, expected: Any
) -> None:
    """OpenAI's three types, and any schema, are response formats."""
    form = parse_response_format(openai_format(response_format))
    assert (form and form.schema) == expected


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        ({"type": "json_schema", "schema": SCHEMA}, "response_format is"),
        ({"type": "json_schema", "json_schema": {"name": "Fruit"}}, "response_format is"),
        (7, "7 is not a schema"),
    ],
)
def test_what_is_not_a_schema_is_refused(response_format: Any, message: str) -> None:
    """The error shows where the schema belongs, before the model runs."""
    with pytest.raises(ParameterError, match=message):
        openai_format(response_format)
    with pytest.raises(ParameterError, match=message):
        chat_of().with_structured_output(response_format)


def test_only_json_mode_needs_no_schema() -> None:
    """Without a schema, "json_mode" accepts any object; the other methods raise."""
    kwargs = bound(chat_of().with_structured_output(None, method="json_mode"))
    assert kwargs["response_format"] == {"type": "json_object"}
    for method in ("json_schema", "function_calling"):
        with pytest.raises(ParameterError, match="needs a schema"):
            chat_of().with_structured_output(None, method=method)
    with pytest.raises(ParameterError, match=r"method is 'xml'.*json_schema"):
        chat_of().with_structured_output(Fruit, method="xml")


def test_further_arguments_are_the_calls() -> None:
    """Other arguments are bound, as with other chat models."""
    for method in METHODS:
        structured = chat_of().with_structured_output(Fruit, method=method, temperature=0.5)
        assert bound(structured)["temperature"] == 0.5


def checked(schema: Any, method: Method) -> JsonSchema:
    """The schema that replies must match."""
    kwargs = bound(chat_of().with_structured_output(schema, method=method))
    if method != "function_calling":
        return JsonSchema.of(kwargs["response_format"]["json_schema"]["schema"])
    return JsonSchema.of(kwargs["tools"][0]["function"]["parameters"])


@pytest.mark.parametrize("method", METHODS)
def test_a_typed_dict_keeps_what_is_optional(method: Method) -> None:
    """Of either ``TypedDict``: members may be left out or null as it declares, at any depth."""
    schema = checked(Order, method)
    order: dict[str, Any] = {"basket": {}, "address": None, "former": []}
    for valid in order, {**order, "note": "Hi."}, {**order, "former": [order]}:
        assert match_schema(valid, schema.text) == (valid, "")
    for invalid in (
        {"basket": {}, "former": []},
        {**order, "note": None},
        {**order, "former": [{"basket": {}}]},
        {**order, "basket": {"owner": 3.5, "fruit": [{"name": "fig"}]}},
        {**order, "basket": {"price": 0}},
    ):
        assert match_schema(invalid, schema.text, repair=False)[1]


@pytest.mark.parametrize("method", METHODS)
def test_a_typed_dict_is_described_as_in_langchain(method: Method) -> None:
    """``Annotated`` may hold a default and a description; without a docstring there is none."""
    schema = checked(Basket, method).schema
    members = schema["properties"]
    assert "description" not in schema
    assert "required" not in schema
    assert members["fruit"]["description"] == "What is in it."
    assert members["weight"]["description"] == "In grams."
    assert (members["weight"]["default"], members["count"]["default"]) == (None, 1)
    inner = schema["$defs"]["FruitDict"]
    assert inner["required"] == ["name", "colour"]
    assert inner["properties"]["name"]["description"] == "What it is called."


def test_a_recursive_class_keeps_its_name() -> None:
    """Its schema is a reference, beside which its title and description are found."""
    written = openai_format(Tree)["json_schema"]
    assert written["name"] == "Tree"
    assert written["schema"]["description"] == "A tree with smaller ones."


@pytest.mark.parametrize("kind", [Colour, list, int, dict[str, int], Colour | None])
def test_a_type_is_no_function(kind: Any) -> None:
    """An enum or a builtin has pydantic's schema, not its constructor's, and is no arguments."""
    schema = checked(kind, "json_schema").schema
    assert schema == TypeAdapter(kind).json_schema()
    with pytest.raises(ParameterError, match="is no function's arguments"):
        chat_of().with_structured_output(kind, method="function_calling")


@pytest.mark.parametrize(
    "schema",
    [{"title": "t", "type": "array"}, {"title": "t", "enum": ["a"]}],
)
def test_only_an_object_is_called_with(schema: dict[str, Any]) -> None:
    """A schema of something else is no function's, and an error before any call."""
    assert checked(schema, "json_schema").schema == schema
    with pytest.raises(ParameterError, match="No object matches"):
        chat_of().with_structured_output(schema, method="function_calling")


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}."


CALL = '# Tool call:\n````\n{"name": "get_weather", "arguments": {"city": "Paris"}}' + END
ANSWER = ("# Answer:\n````\n", '{"name": "pear", "colour": "green"}' + END)
"""The choice to answer, then the answer."""
TEXT_METHODS = pytest.mark.parametrize("method", ["json_schema", "json_mode"])
KINDS = pytest.mark.parametrize(
    "schema", [Fruit, OldFruit, FruitDict, convert_to_json_schema(Fruit), Fruit | Tree]
)


@KINDS
@TEXT_METHODS
async def test_a_reply_that_calls_a_tool_instead_is_no_error(schema: Any, method: Method) -> None:
    """The value is None until the tool has answered; the calls are in the raw message."""
    bound = chat_of(CALL).with_structured_output(
        schema, method=method, tools=[get_weather], include_raw=True
    )
    for result in (bound.invoke("Hi"), await bound.ainvoke("Hi")):
        assert result["raw"].tool_calls[0]["args"] == {"city": "Paris"}
        assert (result["parsed"], result["parsing_error"]) == (None, None)
    plain = chat_of(CALL).with_structured_output(schema, method=method, tools=[get_weather])
    assert plain.invoke("Hi") is None
    assert await plain.ainvoke("Hi") is None
    assert [*plain.stream("Hi")] == [None]
    assert [value async for value in plain.astream("Hi")] == [None]
    [streamed] = [part["parsed"] for part in bound.stream("Hi") if "parsed" in part]
    assert streamed is None


@KINDS
def test_a_reply_in_text_beside_tools_is_parsed(schema: Any) -> None:
    """A reply that answers is the value, also where it might have called a tool."""
    bound = chat_of(*ANSWER).with_structured_output(schema, tools=[get_weather])
    for value in (bound.invoke("Hi"), [*bound.stream("Hi")][-1]):
        found = value if isinstance(value, dict) else value.__dict__
        assert found == {"name": "pear", "colour": "green"}


def test_an_empty_reply_without_calls_is_still_an_error() -> None:
    """Only calls stand for a value that comes later."""
    bound = chat_of(f"# Answer:\n````\n{END}").with_structured_output(Fruit, tools=[get_weather])
    with pytest.raises(OutputParserException):
        bound.invoke("Hi")
    with pytest.raises(OutputParserException):
        [*bound.stream("Hi")]


def below_ten(days: int) -> int:
    """Refuse a number by a rule that no JSON schema holds."""
    if days >= 10:
        raise ValueError("too late")
    return days


class Ripening(BaseModel):
    """When a fruit is ripe."""

    days: Annotated[int, AfterValidator(below_ten)]


def ripening_of(method: Method, **options: Any) -> Any:
    """Return typed output whose reply is in two pieces, of which the first is a valid beginning."""
    call = '{"name": "Ripening", "arguments": ' if method == "function_calling" else ""
    text = [f'{call}{{"days": 1', "2}" + "}" * bool(call)]
    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    chat = ChatUrial(llm=FakeModel(text, features=features), prompt=PROMPT)
    return chat.with_structured_output(Ripening, method=method, **options)


async def each_way(structured: Any) -> list[Any]:
    """Return what each way to ask ends with: a value, or an error."""
    results = list[Any]()
    for way in "invoke", "ainvoke", "stream", "astream":
        try:
            answer = getattr(structured, way)("Hi")
            if way == "stream":
                answer = [*answer][-1]
            elif way == "ainvoke":
                answer = await answer
            elif way == "astream":
                answer = [value async for value in answer][-1]
            results.append(answer)
        except Exception as error:  # noqa: BLE001 - the tests look at its class
            results.append(error)
    return results


@pytest.mark.parametrize("method", METHODS)
async def test_a_value_that_a_validator_rejects_is_one_error(method: Method) -> None:
    """Each way and method ends with LangChain's error, the text in it; a beginning is no value."""
    for error in await each_way(ripening_of(method)):
        assert isinstance(error, OutputParserException)
        assert "too late" in str(error)
        assert error.llm_output == '{"days": 12}'
    structured = ripening_of(method, include_raw=True)
    for result in (structured.invoke("Hi"), await structured.ainvoke("Hi")):
        assert isinstance(result["parsing_error"], OutputParserException)
        assert result["parsed"] is None


class Bill(BaseModel):
    """A bill."""

    total: Decimal
    tip: Decimal | None = None


class Anything(BaseModel):
    """Data of any kind."""

    data: Any


CENTS = "12345678901234567.89"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Bill, f'{{"total": {CENTS}}}', Bill(total=Decimal(CENTS))),
        (Bill, f'{{"total": 1, "tip": {CENTS}}}', Bill(total=Decimal(1), tip=Decimal(CENTS))),
        (list[Decimal], f"[{CENTS}]", [Decimal(CENTS)]),
    ],
)
async def test_a_decimal_keeps_all_digits(kind: Any, text: str, value: object) -> None:
    """So it does in each way to ask. Values without decimals hold Python's own numbers."""
    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    chat = ChatUrial(llm=FakeModel([text[:20], text[20:]], features=features), prompt=PROMPT)
    assert await each_way(chat.with_structured_output(kind)) == [value] * 4
    free = ChatUrial(llm=FakeModel('{"data": 1.234567890123456789}'), prompt=PROMPT)
    plain = free.with_structured_output(Anything).invoke("Hi")
    assert type(plain.data) is float


@pytest.mark.parametrize("schema", [Fruit, SCHEMA], ids=["class", "dict"])
async def test_a_call_is_parsed_in_each_way(schema: Any) -> None:
    """Also by a stream of a chat model that does not stream, which is one whole message."""
    call = ' {"name": "pear", "colour": "green"}}' + END  # the prompt has opened the call
    for streaming in None, False:
        chat = chat_of(call, streaming=streaming)
        structured = chat.with_structured_output(schema, method="function_calling")
        for value in await each_way(structured):
            found = value if isinstance(value, dict) else value.__dict__
            assert found == {"name": "pear", "colour": "green"}
