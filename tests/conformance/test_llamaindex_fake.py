"""UrialLLM passes the conformance suite for LlamaIndex around a fake model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.llms import LLM

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from urial_core.completion import CompletionRequest, ModelFeatures
from urial_core.errors import GenerationError
from urial_core.structured.constraints import JsonSchema
from urial_core.testing import FakeModel


class AnsweringModel(FakeModel):
    """Answer each question with different words, and write on past the answer's end."""

    def _next_response(self, request: CompletionRequest) -> list[str | Exception]:
        super()._next_response(request)
        if isinstance(request.constraint, JsonSchema):
            return [json.dumps(_instance(json.loads(request.constraint.text)))]
        query = request.prompt.rpartition("# Query:\n````\n")[2].partition("\n````\n")[0]
        return ["You ", "asked ", "about ", f"{query[-40:]}.", "\n````\n", "# Query:"]


def _instance(schema: dict[str, Any]) -> Any:
    """Return an instance of a schema as tools and pydantic classes have them."""
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0])
    if "const" in schema:
        return schema["const"]
    if schema["type"] == "object":
        return {name: _instance(field) for name, field in schema["properties"].items()}
    return {"integer": 7, "string": "Ada"}[schema["type"]]


class TestUrialLLM(LLMConformanceTests):
    """Around a fake of a remote model: each piece takes time, and requests run at once."""

    @pytest.fixture
    def model(self) -> FakeModel:
        return AnsweringModel(delay=0.02, features=ModelFeatures(enforces_json=True))

    @pytest.fixture
    def llm(self, model: FakeModel) -> LLM:
        return UrialLLM(llm=model, api_key="hf_secret")

    @pytest.fixture
    def failing_llm(self) -> LLM:
        return UrialLLM(llm=FakeModel(["Bees ", GenerationError("the model broke")]))

    returns_usage_metadata = True
    has_tool_calling = True
    supports_concurrency = True
    cancels_on_close = True
    closes_without_error = True

    @property
    def secrets(self) -> list[str]:
        return ["hf_secret"]

    def seen_by_model(self, llm: LLM) -> str:
        assert isinstance(llm, UrialLLM)
        return str(llm.llm.requests[-1].prompt)

    def generation_stopped(self, llm: LLM) -> bool:
        assert isinstance(llm, UrialLLM)
        return bool(llm.llm.closed)
