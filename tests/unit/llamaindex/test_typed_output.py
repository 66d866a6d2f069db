"""Typed output in LlamaIndex: objects, lists and unions, validated against their schemas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.llms import ChatMessage
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from llamaindex_urial import UrialLLM
from urial_core import ParameterError, UrialError
from urial_core.completion import ModelFeatures
from urial_core.testing import FakeModel

ASK = PromptTemplate("What?")


class Fruit(BaseModel):
    """A fruit."""

    name: str


class Bill(BaseModel):
    """A bill."""

    total: Decimal


class Strict(BaseModel, strict=True):
    """A date, which strict pydantic takes as a text of JSON only."""

    day: date
    share: float


@dataclass
class Nut:
    """A nut."""

    name: str


class Seed(TypedDict):
    """A seed."""

    name: str


def test_a_set_with_a_least_size_has_no_repeats() -> None:
    """They would make it too small, so the model is asked again."""
    pair = Annotated[set[int], Field(min_length=2)]
    assert llm_of("[1, 1]", "[1, 2]").structured_predict(pair, ASK) == {1, 2}


def llm_of(*texts: str, **settings: Any) -> UrialLLM:
    """Return an LLM that enforces schemas, as its model claims."""
    features = ModelFeatures(enforces_choices=True, enforces_json=True)
    return UrialLLM(llm=FakeModel(*texts, features=features), prompt="default", **settings)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Fruit, '{"name": "fig"}', Fruit(name="fig")),
        (list[Fruit], '[{"name": "fig"}]', [Fruit(name="fig")]),
        (Fruit | None, "null", None),
        (set[int], "[1, 2]", {1, 2}),
        (Nut, '{"name": "hazel"}', Nut("hazel")),
        (Seed, '{"name": "sesame"}', {"name": "sesame"}),
        (int, "4", 4),
    ],
)
@pytest.mark.parametrize("mode", [PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION])
async def test_objects_lists_and_unions(
    mode: PydanticProgramMode, kind: Any, text: str, value: object
) -> None:
    """Any type that pydantic has a schema for can be asked for; a stream ends with the object."""
    written = f'{{"name": "Fruit", "arguments": {text}}}'
    by_call = mode is PydanticProgramMode.FUNCTION and kind is Fruit

    def llm(text: str) -> UrialLLM:
        return llm_of(text, pydantic_program_mode=mode)

    assert llm(written if by_call else text).structured_predict(kind, ASK) == value
    assert await llm(written if by_call else text).astructured_predict(kind, ASK) == value
    assert list(llm(text).stream_structured_predict(kind, ASK))[-1] == value
    stream = await llm(text).astream_structured_predict(kind, ASK)
    assert [item async for item in stream][-1] == value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (frozenset[int], "[1, 1]", frozenset({1})),
        (Bill, '{"total": 12345678901234567.89}', Bill(total=Decimal("12345678901234567.89"))),
        (
            Strict,
            '{"day": "2030-01-02", "share": 0.12345678901234567}',
            Strict(day=date(2030, 1, 2), share=0.12345678901234567),
        ),
    ],
)
async def test_values_are_read_as_pydantic_does(kind: Any, text: str, value: object) -> None:
    """A set may repeat its items, as small models do; a decimal keeps all digits."""
    assert llm_of(text).structured_predict(kind, ASK) == value
    assert await llm_of(text).astructured_predict(kind, ASK) == value
    assert list(llm_of(text).stream_structured_predict(kind, ASK))[-1] == value


@pytest.mark.parametrize("kind", [list[Fruit], Nut, int])
def test_a_structured_llm_is_one_of_a_class(kind: Any) -> None:
    """LlamaIndex's takes pydantic classes alone; the error says so before the model runs."""
    llm = llm_of("[]")
    with pytest.raises(ParameterError, match="such as a RootModel of that type"):
        llm.as_structured_llm(kind)
    fruits = llm.as_structured_llm(RootModel[list[Fruit]])
    assert fruits.complete("Which?").raw.root == []
    assert list(fruits.stream_chat([ChatMessage(content="Which?")]))[-1].raw.root == []


async def test_a_stream_without_text_is_an_error() -> None:
    """It has no object, and an engine that claims to enforce the schema may write nothing."""
    for stream in (streamed, astreamed):
        with pytest.raises(ValueError, match="Invalid JSON"):
            await stream(llm_of(""))


def test_what_pydantic_alone_would_take_is_an_error() -> None:
    """A text that reached its limit is reported."""
    text = '{"name": "pineapple"}'
    with pytest.raises(UrialError, match="does not match the schema"):
        llm_of(text, text, max_string_length=8).structured_predict(Fruit, ASK)


@pytest.mark.parametrize("mode", [PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION])
async def test_a_streamed_object_is_whole_or_an_error(mode: PydanticProgramMode) -> None:
    """A stream ends with a valid object in either mode, and never with a blank one."""
    for stream in (streamed, astreamed):
        good, bad = (
            llm_of(text, text, pydantic_program_mode=mode)
            for text in ('{"name": "fig"}', '{"name": 5}')
        )
        assert (await stream(good))[-1] == Fruit(name="fig")
        with pytest.raises(ValueError, match="valid string"):
            await stream(bad)


async def streamed(llm: UrialLLM) -> list[Any]:
    """Return the objects of a stream."""
    return list(llm.stream_structured_predict(Fruit, ASK))


async def astreamed(llm: UrialLLM) -> list[Any]:
    """Return the objects of an asynchronous stream."""
    return [item async for item in await llm.astream_structured_predict(Fruit, ASK)]


@pytest.mark.parametrize("kind", [Fruit, list[Fruit]])
def test_a_call_takes_a_class_as_its_response_format(kind: Any) -> None:
    """A pydantic class or a type stands for its JSON schema; what has none is refused."""
    text = '{"name": "fig"}' if kind is Fruit else '[{"name": "fig"}]'
    llm = llm_of(text)
    assert llm.chat([ChatMessage(content="What?")], response_format=kind).message.content == text
    assert '"name"' in llm.llm.requests[0].prompt.rpartition("JSON schema")[2]
    for invalid in (FakeModel, "Fruit"):
        with pytest.raises(ParameterError, match="response_format"):
            llm.chat([ChatMessage(content="What?")], response_format=invalid)
