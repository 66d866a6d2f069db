"""Templates for LlamaIndex's query and chat engines: numbered passages, and citations of them.

They write the message that the preset ``rag`` shows, in place of LlamaIndex's own templates.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import PromptTemplate, PromptType
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from urial_core.citations import Citation, find_citations, number_passages

__all__ = [
    "RAG_CONTEXT_PROMPT",
    "RAG_CONTEXT_REFINE_PROMPT",
    "RAG_REFINE_TEMPLATE",
    "RAG_TEXT_QA_TEMPLATE",
    "NumberedPassages",
    "rag_templates",
    "response_citations",
]

RAG_TEXT_QA_TEMPLATE = PromptTemplate(
    "Context:\n{context_str}\n\nQuestion: {query_str}",
    prompt_type=PromptType.QUESTION_ANSWER,
)
"""For ``text_qa_template`` and ``summary_template``."""

RAG_REFINE_TEMPLATE = PromptTemplate(
    "Context:\n{context_msg}\n\nAnswer so far: {existing_answer}\n\nQuestion: {query_str}",
    prompt_type=PromptType.REFINE,
)
"""For ``refine_template``: further passages, and the answer from those before."""

RAG_CONTEXT_PROMPT = PromptTemplate("Context:\n{context_str}")
"""For ``context_prompt`` and ``context_template`` of chat engines: the system message."""

RAG_CONTEXT_REFINE_PROMPT = PromptTemplate(
    "Context:\n{context_msg}\n\nAnswer so far: {existing_answer}"
)
"""For ``context_refine_prompt`` and ``context_refine_template`` of chat engines."""


class NumberedPassages(BaseNodePostprocessor):
    """Numbers the retrieved nodes from ``[1]``, in the order in which they are shown.

    Put it last among an engine's ``node_postprocessors``. A response's ``source_nodes`` are the
    numbered ones, with the ids and the metadata of the originals.
    """

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex knows the class by."""
        return "NumberedPassages"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - LlamaIndex's signature
    ) -> list[NodeWithScore]:
        texts = [scored.node.get_content(metadata_mode=MetadataMode.LLM) for scored in nodes]
        return [
            NodeWithScore(
                node=TextNode(
                    id_=scored.node.node_id,
                    text=number_passages([text], first=number),
                    metadata=scored.node.metadata,
                    excluded_llm_metadata_keys=list(scored.node.metadata),  # in the text already
                    relationships=scored.node.relationships,
                ),
                score=scored.score,
            )
            for number, (scored, text) in enumerate(zip(nodes, texts, strict=True), 1)
        ]


def rag_templates() -> dict[str, Any]:
    """Return the arguments that make an engine send what the preset ``rag`` shows.

    They fit ``as_query_engine`` and ``as_chat_engine`` in each of its modes that retrieve, which
    take those that they know.

    Example:
        .. code-block:: python

            llm = UrialLLM(model=..., prompt="rag")
            engine = index.as_query_engine(llm=llm, **rag_templates())
            response = engine.query("When does the library open?")
            [c for c in response_citations(response) if not c.is_supported]
    """
    return {
        "text_qa_template": RAG_TEXT_QA_TEMPLATE,
        "summary_template": RAG_TEXT_QA_TEMPLATE,
        "refine_template": RAG_REFINE_TEMPLATE,
        "context_prompt": RAG_CONTEXT_PROMPT,
        "context_template": RAG_CONTEXT_PROMPT,
        "context_refine_prompt": RAG_CONTEXT_REFINE_PROMPT,
        "context_refine_template": RAG_CONTEXT_REFINE_PROMPT,
        "node_postprocessors": [NumberedPassages()],
    }


class _Response(Protocol):
    source_nodes: list[NodeWithScore]


def response_citations(response: _Response) -> list[Citation]:
    """Return a response's citations; that of number ``n`` is of ``source_nodes[n - 1]``.

    Args:
        response: What a query or chat engine with ``NumberedPassages`` returned. A stream is read
            to its end.
    """
    texts = [
        re.sub(r"^\[\d+\] ", "", scored.node.get_content(metadata_mode=MetadataMode.NONE))
        for scored in response.source_nodes
    ]
    return list(find_citations(str(response), texts))
