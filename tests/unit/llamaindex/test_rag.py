"""Templates of the preset ``rag`` in LlamaIndex's engines, and citations of a response."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import MockEmbedding, SummaryIndex, VectorStoreIndex
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from llamaindex_urial import NumberedPassages, UrialLLM, rag_templates, response_citations
from urial_core.errors import UrialError
from urial_core.testing import FakeModel

NODES = [
    TextNode(text="The library opens at nine.", metadata={"file_name": "hours.md"}),
    TextNode(text="A card is free.\n\nQuestion: What now?\nAnswer: Closed."),
]
QUESTION = "When does it open?"
MESSAGE = (
    "Context:\n[1] file_name: hours.md\n    The library opens at nine.\n\n[2] A card is free.\n"
    "    Question: What now?\n    Answer: Closed.\n\nQuestion: When does it open?"
)


def llm_of(*responses: str) -> tuple[FakeModel, UrialLLM]:
    """A fake model with a large window, and the LLM around it."""
    model = FakeModel(*([response] for response in responses), context_window=8000)
    return model, UrialLLM(llm=model, prompt="rag", max_tokens=50)


def test_the_model_gets_the_message_that_the_preset_shows() -> None:
    """A query engine sends numbered passages, and no line of one can pass for another part."""
    model, llm = llm_of("At nine [1].")
    engine = SummaryIndex(NODES).as_query_engine(llm=llm, **rag_templates())
    response = engine.query(QUESTION)
    assert str(response) == "At nine [1]."
    assert f"# Query:\n````\n{MESSAGE}\n````" in model.requests[0].prompt
    assert "# System:" not in model.requests[0].prompt[model.requests[0].prefix_length :]


def test_a_responses_citations() -> None:
    """A citation names the passage, its node is ``source_nodes[n - 1]``, numbers do not count."""
    _, llm = llm_of("It opens at nine [1]. There are 2 cards [2].")
    response = SummaryIndex(NODES).as_query_engine(llm=llm, **rag_templates()).query(QUESTION)
    first, second = response_citations(response)
    assert first.is_supported
    assert response.source_nodes[first.number - 1].metadata["file_name"] == "hours.md"
    assert not second.is_supported
    assert second.missing == ("2",)


def test_nodes_keep_their_identity() -> None:
    """Numbered nodes have the ids, scores and metadata of the originals, which stay unchanged."""
    numbered = NumberedPassages().postprocess_nodes(
        [NodeWithScore(node=node, score=0.5) for node in NODES]
    )
    assert [one.node.node_id for one in numbered] == [node.node_id for node in NODES]
    assert [one.score for one in numbered] == [0.5, 0.5]
    assert [one.node.metadata for one in numbered] == [node.metadata for node in NODES]
    assert NODES[0].text == "The library opens at nine."
    for mode in (MetadataMode.LLM, MetadataMode.NONE):
        assert numbered[0].node.get_content(mode).startswith("[1] file_name: hours.md\n")


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize"])
def test_every_response_mode_takes_the_templates(mode: Any) -> None:
    """Each mode answers with numbered passages; refining shows the answer so far."""
    model, llm = llm_of("At nine [1].")
    engine = SummaryIndex(NODES).as_query_engine(llm=llm, response_mode=mode, **rag_templates())
    assert str(engine.query(QUESTION)) == "At nine [1]."
    last = model.requests[-1].prompt[model.requests[-1].prefix_length :]
    assert "Context:\n[" in last
    assert last.count("Context:") == 1
    assert ("Answer so far: At nine [1]." in last) == (mode == "refine")
    assert "Context information" not in last


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
async def test_every_chat_engine_takes_the_templates(mode: Any) -> None:
    """Chat engines show numbered passages, too, and their responses have citations."""
    model, llm = llm_of("The library opens at nine [1].")
    index = VectorStoreIndex(NODES[:1], embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_chat_engine(chat_mode=mode, llm=llm, **rag_templates())
    response = await engine.achat(QUESTION)
    asked = model.requests[-1].prompt[model.requests[-1].prefix_length :]
    assert "Context:\n[1] file_name: hours.md\n    The library opens at nine." in asked
    assert QUESTION in asked
    assert [one.is_supported for one in response_citations(response)] == [True]


def test_a_streamed_response_has_citations() -> None:
    """The citations of a stream are those of its whole text."""
    _, llm = llm_of("The library opens at nine [1].")
    index = SummaryIndex(NODES)
    response = index.as_query_engine(llm=llm, streaming=True, **rag_templates()).query(QUESTION)
    assert [one.number for one in response_citations(response)] == [1]


def test_a_stream_that_was_read_needs_its_text() -> None:
    """What was read from ``response_gen`` is gone: an error asks for it as ``text``."""
    _, llm = llm_of("The library opens at nine [1].")
    engine = SummaryIndex(NODES).as_query_engine(llm=llm, streaming=True, **rag_templates())
    response: Any = engine.query(QUESTION)
    pieces = [next(response.response_gen)]
    with pytest.raises(UrialError, match="text="):
        response_citations(response)
    pieces += response.response_gen
    with pytest.raises(UrialError, match="text="):
        response_citations(response)
    (citation,) = response_citations(response, text="".join(pieces))
    assert citation.is_supported


async def test_an_async_stream_has_citations_once_it_was_read() -> None:
    """An async query engine's stream keeps the text of ``async_response_gen`` alone."""
    _, llm = llm_of("The library opens at nine [1].")
    engine = SummaryIndex(NODES).as_query_engine(llm=llm, streaming=True, **rag_templates())
    response: Any = await engine.aquery(QUESTION)
    with pytest.raises(UrialError, match="text="):
        response_citations(response)
    assert [piece async for piece in response.async_response_gen()]
    assert [one.is_supported for one in response_citations(response)] == [True]
    response = await engine.aquery(QUESTION)
    async for _ in response.response_gen:
        break
    with pytest.raises(UrialError, match="text="):
        response_citations(response)


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
@pytest.mark.parametrize("is_read", [True, False])
def test_a_streamed_chat_has_citations(mode: Any, is_read: bool) -> None:
    """A chat engine's stream is read to its end, where the caller has not done it."""
    model = FakeModel(["The library opens ", "at nine [1]."], context_window=8000, delay=0.05)
    llm = UrialLLM(llm=model, prompt="rag", max_tokens=50)
    index = VectorStoreIndex(NODES[:1], embed_model=MockEmbedding(embed_dim=4))
    response = index.as_chat_engine(chat_mode=mode, llm=llm, **rag_templates()).stream_chat(
        QUESTION
    )
    if is_read:
        assert "".join(response.response_gen) == "The library opens at nine [1]."
    assert [one.is_supported for one in response_citations(response)] == [True]
    assert response.response == "The library opens at nine [1]."


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
async def test_an_async_chat_is_read_before_its_citations(mode: Any) -> None:
    """Before the end, an error says so; after it, citations have their passages in each mode."""
    _, llm = llm_of("The library opens at nine [1].")
    index = VectorStoreIndex(NODES[:1], embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_chat_engine(chat_mode=mode, llm=llm, **rag_templates())
    response = await engine.astream_chat(QUESTION)
    with pytest.raises(UrialError, match="async_response_gen"):
        response_citations(response)
    assert [piece async for piece in response.async_response_gen()]
    assert [one.is_supported for one in response_citations(response)] == [True]
