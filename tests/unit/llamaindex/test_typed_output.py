"""Typed output in LlamaIndex: objects, lists and unions, validated against their schemas."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import PromptTemplate
from pydantic import BaseModel

from llamaindex_urial import UrialLLM
from urial_core import UrialError
from urial_core.completion import ModelFeatures
from urial_core.testing import FakeModel

ASK = PromptTemplate("What?")


class Fruit(BaseModel):
    """A fruit."""

    name: str


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
    ],
)
async def test_objects_lists_and_unions(kind: Any, text: str, value: object) -> None:
    """Any type that pydantic has a schema for can be asked for; LlamaIndex streams no lists."""
    assert llm_of(text).structured_predict(kind, ASK) == value
    assert await llm_of(text).astructured_predict(kind, ASK) == value
    if not isinstance(value, list | None):
        assert list(llm_of(text).stream_structured_predict(kind, ASK))[-1] == value


@pytest.mark.parametrize(("kind", "text"), [(set[int], "[1, 1]"), (Fruit, '{"name": "pineapple"}')])
def test_what_pydantic_alone_would_take_is_an_error(kind: Any, text: str) -> None:
    """Repeated items of a set, or a text that reached its limit, are reported."""
    with pytest.raises(UrialError, match="does not match the schema"):
        llm_of(text, text, max_string_length=8).structured_predict(kind, ASK)
