"""Retrieval chains for LangChain: numbered passages in the prompt, citations with the answer.

As LangChain's ``create_retrieval_chain`` and ``create_stuff_documents_chain``, with the message of
the preset ``rag``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelLike
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate
from langchain_core.retrievers import RetrieverLike
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from urial_core.citations import Citation, find_citations, number_passages

__all__ = ["RAG_PROMPT", "create_rag_chain", "document_citations", "format_documents"]

RAG_PROMPT = ChatPromptTemplate.from_messages(
    [("human", "Context:\n{context}\n\nQuestion: {input}")]
)
"""The message that the preset ``rag`` shows: numbered passages as ``context``, then ``input``."""


def format_documents(documents: Sequence[Document]) -> str:
    """Number the texts of documents from ``[1]``, for a prompt's ``context``."""
    return number_passages([document.page_content for document in documents])


def document_citations(answer: str, documents: Sequence[Document]) -> list[Citation]:
    """Return an answer's citations; that of number ``n`` is of ``documents[n - 1]``."""
    return list(find_citations(answer, [document.page_content for document in documents]))


def create_rag_chain(
    llm: LanguageModelLike,
    retriever: RetrieverLike | Runnable[str, Sequence[Document]],
    *,
    prompt: BasePromptTemplate[Any] = RAG_PROMPT,
) -> Runnable[Mapping[str, Any], dict[str, Any]]:
    """Create a chain that retrieves documents, answers from them, and returns its citations.

    Its input is a dict with the question as ``input``, and what else your own ``prompt`` takes
    (such as ``chat_history``, which ``RAG_PROMPT`` does not show). Documents are retrieved by
    ``input`` alone, so rewrite a follow-up question first. Its output is that dict with
    ``context`` (the documents), ``answer`` (text) and ``citations`` (``urial_core.Citation``),
    which is what ``create_retrieval_chain`` returns, and the citations. Streams emit the
    documents, the answer's text as it is written, and the citations at the end.

    Args:
        llm: The chat model, such as ``ChatUrial(prompt="rag")``.
        retriever: Takes the question and returns documents.
        prompt: Takes ``context``, the numbered passages as text, and ``input``.

    Example:
        .. code-block:: python

            chain = create_rag_chain(ChatUrial(model=..., prompt="rag"), store.as_retriever())
            result = chain.invoke({"input": "When does the library open?"})
            [c for c in result["citations"] if not c.is_supported]
    """
    answer = (
        RunnablePassthrough.assign(context=lambda values: format_documents(values["context"]))
        | prompt
        | llm
        | StrOutputParser()
    )
    retrieve = RunnableLambda(lambda values: values["input"]) | retriever
    return (
        RunnablePassthrough.assign(context=retrieve.with_config(run_name="retrieve_documents"))
        .assign(answer=answer)
        .assign(citations=lambda values: document_citations(values["answer"], values["context"]))
        .with_config(run_name="rag_chain")
    )
