"""LlamaIndex's retrievers as sources of examples."""

from __future__ import annotations

from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode

from llamaindex_urial import UrialLLM
from urial_core import load_prompt
from urial_core.testing import FakeModel


def test_a_retriever() -> None:
    """A retriever's nodes are examples: text and metadata are question and answer."""
    nodes = [TextNode(text="What is a?", metadata={"answer": "The first."})]
    index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=4))
    llm = UrialLLM(
        llm=FakeModel("Yes."),
        prompt=load_prompt("short"),
        example_selector=index.as_retriever(similarity_top_k=1),
    )
    response = llm.chat([ChatMessage("Hi")])
    assert response.raw["chosen_examples"] == ["What is a?"]
    assert "\nThe first.\n" in llm.llm.requests[0].prompt
