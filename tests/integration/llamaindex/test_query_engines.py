"""Questions over retrieved documents, in every way that LlamaIndex's query engines answer them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.evaluation import FaithfulnessEvaluator, RelevancyEvaluator
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import QueryEngineTool, ToolMetadata
from pydantic import BaseModel, Field

from llamaindex_urial import UrialLLM

pytestmark = pytest.mark.model

QUESTION = "Which room has a projector?"
MODES = [
    ResponseMode.COMPACT,
    ResponseMode.REFINE,
    ResponseMode.TREE_SUMMARIZE,
    ResponseMode.SIMPLE_SUMMARIZE,
    ResponseMode.ACCUMULATE,
    ResponseMode.COMPACT_ACCUMULATE,
]
LEAKS = ("````", "# Query:", "# Answer:", "# System:")


def is_clean(text: str) -> bool:
    """Return whether there is an answer without any of the prompt in it."""
    return bool(text.strip()) and not any(leak in text for leak in LEAKS)


def test_the_model_does_not_ask_the_next_question(index: VectorStoreIndex) -> None:
    """LlamaIndex's template has labels of its own; the answer ends before the model reuses them."""
    response = str(index.as_query_engine(similarity_top_k=1).query(QUESTION))
    assert "Query:" not in response
    assert "Answer:" not in response


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=[pytest.mark.matrix] * (mode is not ResponseMode.REFINE))
        for mode in MODES
    ],
)
def test_every_response_mode_answers_from_the_documents(
    index: VectorStoreIndex, mode: ResponseMode
) -> None:
    """Each mode gives a clean answer and names the passages it was given, the right one first."""
    response = index.as_query_engine(response_mode=mode, similarity_top_k=2).query(QUESTION)
    assert is_clean(str(response))
    assert str(response) != "Empty Response"
    assert response.source_nodes[0].metadata["file_name"] == "study_rooms.md"


@pytest.mark.matrix
def test_the_passages_decide_the_answer(index: VectorStoreIndex) -> None:
    """The answer holds a fact that is only in the documents."""
    assert "Elm" in str(index.as_query_engine(similarity_top_k=1).query(QUESTION))


@pytest.mark.parametrize(
    "mode",
    [ResponseMode.COMPACT, pytest.param(ResponseMode.TREE_SUMMARIZE, marks=pytest.mark.matrix)],
)
def test_a_streamed_answer_is_the_same(index: VectorStoreIndex, mode: ResponseMode) -> None:
    """The pieces of a streamed answer make up the answer of an engine that does not stream."""
    blocking = index.as_query_engine(response_mode=mode, similarity_top_k=1)
    blocking.query(QUESTION)  # from now on all but the prompt's last token is cached
    whole = blocking.query(QUESTION)
    engine = index.as_query_engine(response_mode=mode, similarity_top_k=1, streaming=True)
    streamed = engine.query(QUESTION)
    assert isinstance(streamed, StreamingResponse)
    pieces = list(streamed.response_gen)
    assert len(pieces) > 1
    assert "".join(pieces) == str(whole)


async def test_an_awaited_answer_is_the_same(index: VectorStoreIndex) -> None:
    """Aquery gives the same answer, whole or streamed."""
    blocking = index.as_query_engine(similarity_top_k=1)
    blocking.query(QUESTION)  # from now on all but the prompt's last token is cached
    whole = blocking.query(QUESTION)
    awaited = await index.as_query_engine(similarity_top_k=1).aquery(QUESTION)
    assert str(awaited) == str(whole)
    streamed = await index.as_query_engine(similarity_top_k=1, streaming=True).aquery(QUESTION)
    assert isinstance(streamed, AsyncStreamingResponse)
    assert "".join([piece async for piece in streamed.response_gen]) == str(whole)


def test_an_application_is_switched_by_one_line(
    index: VectorStoreIndex, llm: UrialLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ran on another LLM runs on UrialLLM once ``Settings.llm`` is set."""
    from llama_index.core import Settings
    from llama_index.core.llms import MockLLM

    def application() -> str:
        return str(index.as_query_engine(similarity_top_k=1).query(QUESTION))

    monkeypatch.setattr(Settings, "_llm", MockLLM(max_tokens=5))
    before = application()
    Settings.llm = llm
    after = application()
    assert before != after
    assert "Elm" in after


class Questions(BaseModel):
    """Questions to a tool. Without bounds, a model of 270M parameters lists them without end."""

    items: list[Annotated[str, Field(max_length=80)]] = Field(max_length=2)


class QuestionGenerator(BaseQuestionGenerator):
    """Asks for a typed list of questions, which ``LLMQuestionGenerator`` asks for in prose."""

    def __init__(self, llm: UrialLLM) -> None:
        self._llm = llm

    def generate(self, tools: Sequence[ToolMetadata], query: QueryBundle) -> list[SubQuestion]:
        names = ", ".join(str(tool.name) for tool in tools)
        prompt = PromptTemplate(f"Split this into questions to {names}: {{query}}")
        found = self._llm.structured_predict(
            Questions, prompt, {"max_tokens": 400}, query=query.query_str
        )
        name = str(tools[0].name)
        return [SubQuestion(sub_question=question, tool_name=name) for question in found.items]

    async def agenerate(
        self, tools: Sequence[ToolMetadata], query: QueryBundle
    ) -> list[SubQuestion]:
        return self.generate(tools, query)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: dict[str, Any]) -> None: ...


@pytest.mark.matrix
def test_sub_questions_are_asked_and_answered(index: VectorStoreIndex, llm: UrialLLM) -> None:
    """The model's typed list of questions is put to the tool, and their answers are joined.

    Which questions a model of 270M parameters thinks of is its own affair; that they are well
    formed is not.
    """
    tool = QueryEngineTool.from_defaults(
        index.as_query_engine(similarity_top_k=1),
        name="handbook",
        description="The library's handbook",
    )
    engine = SubQuestionQueryEngine.from_defaults(
        query_engine_tools=[tool], question_gen=QuestionGenerator(llm), use_async=False
    )
    response = engine.query("How long are books lent, and what does a color page cost?")
    assert is_clean(str(response))


@pytest.mark.matrix
def test_a_router_chooses_one_of_its_engines(index: VectorStoreIndex, llm: UrialLLM) -> None:
    """LlamaIndex's own selector for models that call functions gets a call it can read."""
    engine = index.as_query_engine(similarity_top_k=1)
    tools = [
        QueryEngineTool.from_defaults(engine, name="rooms", description="Rooms and projectors"),
        QueryEngineTool.from_defaults(engine, name="events", description="Events and clubs"),
    ]
    # A selection that is cut does not count.
    whole = llm.model_copy(update={"max_tokens": 200, "max_string_length": 60, "max_items": 2})
    router = RouterQueryEngine.from_defaults(tools, llm=whole)
    response = router.query(QUESTION)
    assert is_clean(str(response))
    assert response.metadata
    assert response.metadata["selector_result"].ind in (0, 1)


@pytest.mark.parametrize(
    "kind",
    [FaithfulnessEvaluator, pytest.param(RelevancyEvaluator, marks=pytest.mark.matrix)],
)
async def test_evaluators_get_a_verdict(
    index: VectorStoreIndex, llm: UrialLLM, kind: type[FaithfulnessEvaluator | RelevancyEvaluator]
) -> None:
    """An evaluator's prompt, examples and all, gets an answer that it can read."""
    response = index.as_query_engine(similarity_top_k=1).query(QUESTION)
    verdict = await kind(llm=llm).aevaluate_response(query=QUESTION, response=response)
    assert is_clean(verdict.feedback or "")
    assert verdict.passing is ("yes" in (verdict.feedback or "").lower())
