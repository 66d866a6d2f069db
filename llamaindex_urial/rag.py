"""Templates for LlamaIndex's query and chat engines: numbered passages, and citations of them.

They write the message that the preset ``rag`` shows, in place of LlamaIndex's own templates.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    StreamingResponse,
)
from llama_index.core.chat_engine.types import (
    AGENT_CHAT_RESPONSE_TYPE,
    StreamingAgentChatResponse,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import PromptTemplate, PromptType
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from urial_core.citations import Citation, find_citations, number_passages
from urial_core.errors import UrialError

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


def response_citations(
    response: RESPONSE_TYPE | AGENT_CHAT_RESPONSE_TYPE, text: str | None = None
) -> list[Citation]:
    """Return a response's citations; that of number ``n`` is of ``source_nodes[n - 1]``.

    Args:
        response: What a query or chat engine with ``NumberedPassages`` returned. A stream is read
            to its end; an async one is to be read before, from ``async_response_gen()``.
        text: The response's text, if you have read the stream yourself. A chat engine's response
            keeps it; that of a query engine keeps none of what is read from ``response_gen``.

    Raises:
        UrialError: The stream was read and its text is gone, or it cannot be read here.
    """
    nodes = response.source_nodes or _nodes_of_tools(response)
    passages = [
        re.sub(r"^\[\d+\] ", "", scored.node.get_content(metadata_mode=MetadataMode.NONE))
        for scored in nodes
    ]
    return list(find_citations(_text_of(response) if text is None else text, passages))


def _nodes_of_tools(response: Any) -> list[NodeWithScore]:
    """Return the nodes of a chat response's tools, which LlamaIndex omits for async streams."""
    outputs = [source.raw_output for source in getattr(response, "sources", ())]
    return [node for output in outputs for node in getattr(output, "source_nodes", ())]


def _text_of(response: Any) -> str:
    """Return a response's whole text; raise if it cannot be had."""
    if isinstance(response, StreamingAgentChatResponse) and not response.is_done:
        if response.chat_stream is None:
            raise response.exception or UrialError(
                "The stream of astream_chat is not at its end: read async_response_gen() first."
            )
        for _ in response.response_gen:  # which collects it in the response
            pass
    elif isinstance(response, StreamingResponse | AsyncStreamingResponse):
        if response.response_txt is not None:  # of one that is being read, the text so far
            return response.response_txt
        if isinstance(response, AsyncStreamingResponse):
            raise UrialError(
                "The async stream was not read: read async_response_gen() first, or pass the text, "
                'as in response_citations(response, text="".join(pieces)).'
            )
        if _is_begun(response.response_gen):
            raise UrialError(
                "The stream was read from response_gen, which does not keep its text: pass the "
                'text, as in response_citations(response, text="".join(pieces)).'
            )
    return str(response)


def _is_begun(stream: Any) -> bool:
    """Return whether something was read from a generator."""
    if not inspect.isgenerator(stream):
        return False
    return inspect.getgeneratorstate(stream) != inspect.GEN_CREATED
