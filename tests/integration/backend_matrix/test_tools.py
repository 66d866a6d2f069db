"""Typed answers and tool calls on every backend, constrained where it can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from backend_case import BackendCase, NoCallError
from backend_cases import Kind
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, ValidationError

pytestmark = [pytest.mark.model, pytest.mark.server, pytest.mark.matrix]


class Capital(BaseModel):
    """A country's capital."""

    country: str
    capital: str


class GetWeather(BaseModel):
    """Get the weather in a city."""

    city: str


@pytest.fixture
def backend_case(kind: Kind, make: Callable[..., BackendCase]) -> BackendCase:
    """Return each backend case in turn, with room for JSON."""
    return make(kind, max_tokens=100)


def test_a_typed_answer_is_an_object_of_its_class(backend_case: BackendCase, kind: Kind) -> None:
    """It matches its class; where the model is not constrained, it matches or is an error.

    A model this small copies the schema when it is not constrained, and again when retried.
    """
    try:
        answer = backend_case.typed(Capital, "What is the capital of France?")
    except (OutputParserException, ValidationError):
        assert not kind.constrains
        return
    assert isinstance(answer, Capital)
    assert answer.country
    assert answer.capital


def test_a_required_call_matches_its_tool(backend_case: BackendCase, kind: Kind) -> None:
    """It names the tool and has its arguments; where not constrained, as above."""
    try:
        arguments = backend_case.call(GetWeather, "What is the weather in Paris?")
    except NoCallError:
        assert not kind.constrains
        return
    if kind.constrains:
        assert GetWeather(**arguments).city
