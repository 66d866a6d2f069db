"""Templates in, text or pydantic objects out: ``predict`` and ``structured_predict``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel, Field
from llama_index.core.callbacks import EventPayload
from llama_index.core.llms import LLM
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate, PromptTemplate

from llamaindex_urial.conformance.calls import CHATS, Endpoint, recording
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["Person", "PredictionTests", "StructuredTests"]

_SYSTEM_PROMPT = "Answer in the manner of a pirate."
_METHODS = ["predict", "stream", "apredict", "astream"]
_TEMPLATES = {
    "template": PromptTemplate("{question}"),
    "chat template": ChatPromptTemplate(
        message_templates=[
            ChatMessage(role="system", content="You are kind."),
            ChatMessage(role="user", content="{question}"),
        ]
    ),
}


class PredictionTests(LLMClaims):
    """Test ``predict``, ``stream`` and their async versions, which engines call."""

    @pytest.mark.parametrize("template", _TEMPLATES)
    @pytest.mark.parametrize("method", _METHODS)
    @contract("response synthesizers (response_synthesizers/)")
    def test_predicts(self, llm: LLM, method: str, template: str) -> None:
        """Each method returns text."""
        assert self._predicted(llm, method, _TEMPLATES[template]).strip()

    @pytest.mark.parametrize("template", _TEMPLATES)
    @pytest.mark.parametrize("method", _METHODS[1:])
    @contract("response synthesizers, streaming or not (response_synthesizers/)")
    def test_predicts_the_same(self, llm: LLM, method: str, template: str) -> None:
        """All methods return the same text."""
        self.needs("is_deterministic")
        prompt = _TEMPLATES[template]
        assert self._predicted(llm, method, prompt) == self._predicted(llm, "predict", prompt)

    @pytest.mark.parametrize("template", _TEMPLATES)
    @pytest.mark.parametrize("method", _METHODS)
    @contract("LLM._extend_messages and _extend_prompt add it already (llms/llm.py)")
    def test_system_prompt_is_applied_once(
        self, llm: LLM, method: str, template: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``system_prompt`` is in the question exactly once, and reaches the model once."""
        monkeypatch.setattr(llm, "system_prompt", _SYSTEM_PROMPT)

        with recording(llm) as recorded:
            self._predicted(llm, method, _TEMPLATES[template])

        start = recorded.starts[0]
        asked = start.get(EventPayload.PROMPT) or start[EventPayload.MESSAGES]
        assert repr(asked).count(_SYSTEM_PROMPT) == 1, "in the question"
        seen = self.seen_by_model(llm)
        assert seen is None or seen.count(_SYSTEM_PROMPT) == 1, "in what the model sees"

    def _predicted(self, llm: LLM, method: str, template: BasePromptTemplate) -> str:
        return "".join(self.call(llm, method, template, question=self.prompt))


_STRUCTURED_METHODS = [f"{prefix}structured_predict" for prefix in ("", "a", "stream_", "astream_")]


class Person(BaseModel):
    """A person."""

    name: str = Field(description="The person's name.")
    age: int = Field(description="The age in years.")


class StructuredTests(LLMClaims):
    """Test structured output, if ``has_structured_output`` is claimed."""

    person_text: str = "Ada Lovelace is 36 years old. Who is she?"
    """What ``Person`` is filled in from."""

    @pytest.fixture
    def structured_llm(self, llm: LLM) -> LLM:
        """Return the LLM that fills in classes: ``llm``, if it claims to."""
        self.needs("has_structured_output")
        return llm

    @pytest.mark.parametrize("method", _STRUCTURED_METHODS)
    @contract("structured selectors, rerankers and extractors (llms/llm.py); StructuredLLM")
    def test_structured_predict(self, structured_llm: LLM, method: str) -> None:
        """Each method returns an object of the class; a stream's last item is the whole object."""
        _check_parts(self._filled_in(structured_llm, method))

    @contract("tracers (instrumentation/events/llm.py, LLMStructuredPredict...)")
    def test_events_of_structured_predict(self, structured_llm: LLM) -> None:
        """``structured_predict`` reports its start and its end to the dispatcher, once each."""
        with recording(structured_llm) as recorded:
            self._filled_in(structured_llm, "structured_predict")

        assert len(recorded.named("LLMStructuredPredictStartEvent")) == 1
        ends = recorded.named("LLMStructuredPredictEndEvent")
        assert [type(end.output) for end in ends] == [Person]

    @contract("whoever sets it: FunctionCallingProgram.acall forgets it (function_program.py)")
    def test_system_prompt_is_sent(
        self, structured_llm: LLM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``system_prompt`` is part of the question, awaited or not."""
        monkeypatch.setattr(structured_llm, "system_prompt", _SYSTEM_PROMPT)

        for method in ("structured_predict", "astructured_predict"):
            with recording(structured_llm) as recorded:
                self._filled_in(structured_llm, method)
            assert _SYSTEM_PROMPT in repr(recorded.starts), method

    @contract(
        "agents with output_cls (agent/utils.py); StructuredLLM (llms/structured_llm.py)",
        [*CHATS, Endpoint("complete")],
    )
    def test_as_structured_llm(self, structured_llm: LLM, endpoint: Endpoint) -> None:
        """``as_structured_llm`` returns an LLM whose last item holds the object in ``raw``."""
        text = self.person_text
        question = [ChatMessage(role="user", content=text)] if endpoint.is_chat else text
        items = self.ask(structured_llm.as_structured_llm(Person), endpoint, question)
        _check_parts([item.raw for item in items])

    def _filled_in(self, llm: LLM, method: str) -> list[Any]:
        return self.call(llm, method, Person, PromptTemplate("{text}"), text=self.person_text)


def _check_parts(parts: Sequence[Any]) -> None:
    assert parts, "no part"
    assert all(isinstance(part, BaseModel) for part in parts)
    assert isinstance(parts[-1], Person), f"the last part is {parts[-1]!r}"
