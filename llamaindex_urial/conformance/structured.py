"""Filling in pydantic classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel, Field
from llama_index.core.llms import LLM
from llama_index.core.prompts import PromptTemplate

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.recording import recording

__all__ = ["Person", "StructuredTests"]

T = TypeVar("T")

_PROMPT = PromptTemplate("{text}")


class Person(BaseModel):
    """A person."""

    name: str = Field(description="The person's name.")
    age: int = Field(description="The age in years.")


class StructuredTests(LLMClaims):
    """Nothing here is run unless ``supports_structured_output`` is claimed."""

    @pytest.fixture
    def filler(self, llm: LLM) -> LLM:
        """The LLM, if it claims to fill in classes."""
        self.needs("supports_structured_output")
        return llm

    @property
    def person_text(self) -> str:
        """What ``Person`` is filled in from."""
        return "Ada Lovelace is 36 years old. Who is she?"

    @contract("structured selectors, rerankers and extractors (llms/llm.py, structured_predict)")
    def test_structured_predict(self, filler: LLM) -> None:
        """``structured_predict`` gives an object of the class."""
        person = self.run(lambda: filler.structured_predict(Person, _PROMPT, text=self.person_text))
        assert isinstance(person, Person)

    @contract("structured selectors, rerankers and extractors (llms/llm.py)")
    def test_astructured_predict(self, filler: LLM) -> None:
        """``astructured_predict`` gives an object of the class."""
        person = self.run_async(filler.astructured_predict(Person, _PROMPT, text=self.person_text))
        assert isinstance(person, Person)

    @contract("StructuredLLM.stream_chat (llms/structured_llm.py)")
    def test_stream_structured_predict(self, filler: LLM) -> None:
        """``stream_structured_predict`` gives objects, the last of the class and whole."""
        parts = self.run(
            lambda: list(filler.stream_structured_predict(Person, _PROMPT, text=self.person_text))
        )
        _check_parts(parts)

    @contract("StructuredLLM.astream_chat (llms/structured_llm.py)")
    def test_astream_structured_predict(self, filler: LLM) -> None:
        """``astream_structured_predict`` is awaited and gives the same, in an async generator."""

        async def collected() -> list[Any]:
            stream = await filler.astream_structured_predict(Person, _PROMPT, text=self.person_text)
            return [part async for part in stream]

        _check_parts(self.run_async(collected()))

    @contract("tracers (instrumentation/events/llm.py, LLMStructuredPredict...)")
    def test_events_of_structured_predict(self, filler: LLM) -> None:
        """``structured_predict`` tells the dispatcher of its start and its end, once each."""
        with recording(filler) as recorded:
            self.run(lambda: filler.structured_predict(Person, _PROMPT, text=self.person_text))

        assert len(recorded.named("LLMStructuredPredictStartEvent")) == 1
        ends = recorded.named("LLMStructuredPredictEndEvent")
        assert [type(end.output) for end in ends] == [Person]

    @contract("whoever sets it: FunctionCallingProgram.acall forgets it (function_program.py)")
    def test_system_prompt_counts(self, filler: LLM) -> None:
        """``system_prompt`` is part of what is asked, awaited or not."""
        system_prompt = "Names are written in capitals."
        before, filler.system_prompt = filler.system_prompt, system_prompt
        try:
            for awaited in (False, True):
                with recording(filler) as recorded:
                    if awaited:
                        self.run_async(
                            filler.astructured_predict(Person, _PROMPT, text=self.person_text)
                        )
                    else:
                        self.run(
                            lambda: filler.structured_predict(
                                Person, _PROMPT, text=self.person_text
                            )
                        )
                assert system_prompt in repr(recorded.starts), f"awaited={awaited}"
        finally:
            filler.system_prompt = before

    @contract("agents with output_cls (agent/utils.py); StructuredLLM (llms/structured_llm.py)")
    def test_as_structured_llm(self, filler: LLM) -> None:
        """``as_structured_llm`` gives an LLM whose responses hold the object in ``raw``."""
        structured = filler.as_structured_llm(Person)
        messages = [ChatMessage(role="user", content=self.person_text)]

        responses = [
            self.run(lambda: structured.chat(messages)),
            self.run_async(structured.achat(messages)),
            self.run(lambda: structured.complete(self.person_text)),
        ]

        for response in responses:
            assert isinstance(response.raw, Person)

    @contract("StructuredLLM.stream_chat (llms/structured_llm.py)")
    def test_as_structured_llm_streams(self, filler: LLM) -> None:
        """Its streams end with the whole object."""
        structured = filler.as_structured_llm(Person)
        messages = [ChatMessage(role="user", content=self.person_text)]

        async def collected() -> list[Any]:
            return [item.raw async for item in await structured.astream_chat(messages)]

        _check_parts(self.run(lambda: [item.raw for item in structured.stream_chat(messages)]))
        _check_parts(self.run_async(collected()))


def _check_parts(parts: Sequence[Any]) -> None:
    assert parts, "no part"
    assert all(isinstance(part, BaseModel) for part in parts)
    assert isinstance(parts[-1], Person), f"the last part is {parts[-1]!r}"
