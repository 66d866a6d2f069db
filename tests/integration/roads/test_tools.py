"""Typed answers and tool calls by every road: constrained where it can be, repaired where not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import BaseModel
from road import Road
from road_list import Kind

pytestmark = [pytest.mark.model, pytest.mark.server]


class Capital(BaseModel):
    """A country's capital."""

    country: str
    capital: str


class GetWeather(BaseModel):
    """Get the weather in a city."""

    city: str


@pytest.fixture
def road(kind: Kind, make: Callable[..., Road]) -> Road:
    """Each road in turn, with room for JSON."""
    return make(kind, max_tokens=64)


def test_a_typed_answer_is_an_object_of_its_class(road: Road) -> None:
    """What the road cannot hold the model to is checked, and written anew if need be."""
    answer = road.typed(Capital, "What is the capital of France?")
    assert isinstance(answer, Capital)
    assert answer.country
    assert answer.capital


def test_a_call_that_must_be_made_fits_its_tool(road: Road) -> None:
    """It names the tool, and its arguments are the tool's."""
    arguments = road.call(GetWeather, "What is the weather in Paris?")
    assert GetWeather(**arguments).city
