"""LangChain's example selectors with ChatUrial."""

from __future__ import annotations

import copy

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.example_selectors import (
    LengthBasedExampleSelector,
    SemanticSimilarityExampleSelector,
)
from langchain_core.prompts import PromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_urial import ChatUrial
from urial_core import load_prompt
from urial_core.testing import FakeModel

EXAMPLES = [{"question": f"What is {name}?", "answer": f"{name.title()}."} for name in ("a", "b")]


def chat_of(selector: object) -> ChatUrial:
    return ChatUrial(
        llm=FakeModel("Yes."),
        prompt=load_prompt("short"),
        example_selector=selector,
        max_examples=2,
    )


def test_a_similarity_selector() -> None:
    """A selector over a vector store finds the question itself; metadata names what was chosen."""
    selector = SemanticSimilarityExampleSelector.from_examples(
        EXAMPLES,
        DeterministicFakeEmbedding(size=8),
        InMemoryVectorStore,
        k=1,
        input_keys=["question"],
    )
    chat = chat_of(selector)
    message = chat.invoke("What is b?")
    assert message.response_metadata["chosen_examples"] == ["What is b?"]
    assert "\nB.\n" in chat.llm.requests[0].prompt
    assert copy.deepcopy(chat).example_selector is selector


async def test_a_length_selector() -> None:
    """A selector by length, asked without keys of its own, works in async calls too."""
    template = PromptTemplate.from_template("{question} {answer}")
    selector = LengthBasedExampleSelector(examples=EXAMPLES, example_prompt=template)
    message = await chat_of(selector).ainvoke("Hi")
    assert message.response_metadata["chosen_examples"] == ["What is a?", "What is b?"]
