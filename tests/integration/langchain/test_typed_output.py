"""Typed output of the real base model: it always matches the schema."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel, Field

from langchain_urial import ChatUrial
from urial_core.backends.llama_cpp import LlamaCppModel
from urial_core.backends.transformers import TransformersModel
from urial_core.errors import UnsupportedSchemaError

pytestmark = pytest.mark.model

LETTER = "My kettle is broken, and I am cross. I want my money back. Yours, Ann Miller"


class Complaint(BaseModel):
    """What a customer complains about."""

    customer: str
    mood: Literal["calm", "angry"]
    wants_refund: bool
    items: list[str] = Field(max_length=2)


@pytest.fixture
def chat(llama: LlamaCppModel) -> ChatUrial:
    """Return a greedy chat model with a short prompt and short replies."""
    return ChatUrial(llm=llama, prompt="short", max_tokens=60, temperature=0)


@pytest.mark.matrix
async def test_a_letter_becomes_an_object_in_every_way(demo_model: TransformersModel) -> None:
    """invoke, stream and batch, sync and async, give the same object, and the class checks it."""
    chat = ChatUrial(llm=demo_model, prompt="short", max_tokens=60, temperature=0)
    typed = chat.with_structured_output(Complaint)
    alone = typed.invoke(LETTER)
    assert isinstance(alone, Complaint)
    assert typed.batch([LETTER, LETTER]) == [alone, alone]
    assert list(typed.stream(LETTER))[-1] == alone
    assert await typed.ainvoke(LETTER) == alone
    assert [item async for item in typed.astream(LETTER)][-1] == alone


def test_a_dict_grows_and_never_shrinks(chat: ChatUrial) -> None:
    """Streamed as a dict, each state has the keys of the last, in the schema's order."""
    grown = list(chat.with_structured_output(Complaint.model_json_schema()).stream(LETTER))
    keys = [list(state) for state in grown]
    assert all(after[: len(before)] == before for before, after in itertools.pairwise(keys))
    assert keys[-1] == ["customer", "mood", "wants_refund", "items"]
    assert Complaint.model_validate(grown[-1])


@pytest.mark.parametrize("max_tokens", [1, 12])
def test_an_object_that_was_cut_is_an_error(chat: ChatUrial, max_tokens: int) -> None:
    """Nothing that the model did not write fills in what is missing."""
    typed = chat.with_structured_output(Complaint, max_tokens=max_tokens)
    with pytest.raises(OutputParserException, match="max_tokens") as caught:
        typed.invoke(LETTER)
    assert str(caught.value.llm_output).startswith("{")


@pytest.mark.parametrize("way", ["text", "tool"])
def test_a_schema_that_nothing_matches_is_refused_by_name(chat: ChatUrial, way: str) -> None:
    """A schema that no value can match is an error that names why, before anything runs."""
    schema = {
        "title": "Pair",
        "type": "object",
        "properties": {"pair": {"type": "array", "minItems": 3, "maxItems": 2}},
        "required": ["pair"],
    }
    method = "json_schema" if way == "text" else "function_calling"
    with pytest.raises(UnsupportedSchemaError, match="minItems"):
        chat.with_structured_output(schema, method=method).invoke(LETTER)
