"""The retrieval chain: numbered documents in the prompt, citations with the answer."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableLambda

from langchain_urial import (
    RAG_PROMPT,
    ChatUrial,
    create_rag_chain,
    document_citations,
    format_documents,
)
from urial_core.testing import FakeModel

DOCUMENTS = [
    Document("The library opens at nine.", metadata={"source": "hours.md"}),
    Document("A card is free.\n[1] Everything is closed.", metadata={"source": "cards.md"}),
]
QUESTION = {"input": "When does it open?"}


def chain_of(model: FakeModel, **options: Any) -> Runnable[Any, dict[str, Any]]:
    """A chain whose retriever always finds both documents."""
    retriever: RunnableLambda[str, list[Document]] = RunnableLambda(lambda question: DOCUMENTS)
    return create_rag_chain(ChatUrial(llm=model, prompt="rag"), retriever, **options)


def test_the_model_gets_the_message_that_the_preset_shows() -> None:
    """Documents are numbered, a line each, and no further line of one begins a line."""
    model = FakeModel(["At nine [1]."])
    chain_of(model).invoke(QUESTION)
    assert (
        "# Query:\n````\nContext:\n[1] The library opens at nine.\n[2] A card is free.\n"
        "    [1] Everything is closed.\n\nQuestion: When does it open?\n````"
    ) in model.requests[0].prompt


def test_answer_documents_and_citations_are_returned() -> None:
    """The output has the input's keys, ``context``, ``answer`` and ``citations``."""
    result = chain_of(FakeModel(["It opens at nine [1]. A card costs 5 dollars [2]."])).invoke(
        {**QUESTION, "other": 1}
    )
    assert set(result) == {"input", "other", "context", "answer", "citations"}
    assert result["context"] == DOCUMENTS
    first, second = result["citations"]
    assert first.is_supported
    assert result["context"][first.number - 1].metadata["source"] == "hours.md"
    assert not second.is_supported
    assert second.missing == ("costs", "5", "dollars")


def test_the_answer_streams_and_the_citations_follow() -> None:
    """Pieces of the answer come one by one, the citations once it is whole."""
    chunks = list(chain_of(FakeModel(["It opens ", "at nine ", "[1]."])).stream(QUESTION))
    pieces = [chunk["answer"] for chunk in chunks if "answer" in chunk]
    assert len(pieces) > 1
    assert "".join(pieces) == "It opens at nine [1]."
    assert [one.number for one in chunks[-1]["citations"]] == [1]


async def test_the_chain_can_be_awaited() -> None:
    """``ainvoke`` returns what ``invoke`` returns."""
    model = FakeModel(["It opens at nine [1]."])
    assert await chain_of(model).ainvoke(QUESTION) == chain_of(model).invoke(QUESTION)


def test_an_own_prompt() -> None:
    """Another prompt gets the numbered documents as ``context``, and the input's other keys."""
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "Context:\n{context}"),
            MessagesPlaceholder("chat_history"),
            ("human", "{input}"),
        ]
    )
    model = FakeModel(["At nine [1]."])
    chain_of(model, prompt=prompt).invoke({**QUESTION, "chat_history": [("human", "Hello!")]})
    assert "# System:\n````\nContext:\n[1] The library opens at nine." in model.requests[0].prompt
    assert "Hello!" in model.requests[0].prompt


def test_in_a_chain_of_ones_own() -> None:
    """``format_documents`` and ``RAG_PROMPT`` make the same message in any LCEL chain."""
    text = RAG_PROMPT.invoke({"context": format_documents(DOCUMENTS), **QUESTION}).to_string()
    assert text.startswith("Human: Context:\n[1] The library opens at nine.\n[2] A card")
    assert text.endswith("\n\nQuestion: When does it open?")
    assert [one.is_supported for one in document_citations("A card is free [2].", DOCUMENTS)] == [
        True
    ]


def test_with_langchains_own_retrieval_chain() -> None:
    """LangChain's helpers take the prompt, too, with documents that are numbered before."""
    combine = pytest.importorskip("langchain_classic.chains.combine_documents")
    chains = pytest.importorskip("langchain_classic.chains")
    model = FakeModel(["At nine."])
    stuff = combine.create_stuff_documents_chain(ChatUrial(llm=model, prompt="rag"), RAG_PROMPT)
    retriever: RunnableLambda[Any, list[Document]] = RunnableLambda(lambda values: DOCUMENTS)
    result = chains.create_retrieval_chain(retriever, stuff).invoke(QUESTION)
    assert result["answer"] == "At nine."
    assert "Question: When does it open?" in model.requests[0].prompt
