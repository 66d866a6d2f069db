"""Typed output in LlamaIndex: objects, lists and unions, validated against their schemas."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.llms import ChatMessage
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

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
        (frozenset[int], "[1, 1]", frozenset({1})),
        (Bill, '{"total": 12345678901234567.89}', Bill(total=Decimal("12345678901234567.89"))),
        (Bill, '{"total": "12345678901234567.89"}', Bill(total=Decimal("12345678901234567.89"))),
        (Strict, '{"day": "2030-01-02"}', Strict(day=date(2030, 1, 2))),
    ],
)
async def test_objects_lists_and_unions(kind: Any, text: str, value: object) -> None:
    """Any type that pydantic has a schema for can be asked for; LlamaIndex streams no lists.

    A set may repeat its items, as small models do; a decimal keeps all digits.
    """
    assert llm_of(text).structured_predict(kind, ASK) == value
    assert await llm_of(text).astructured_predict(kind, ASK) == value
    if not isinstance(value, list | None):
        assert list(llm_of(text).stream_structured_predict(kind, ASK))[-1] == value


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
