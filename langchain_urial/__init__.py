"""URIAL for LangChain: any base LLM as a first-class chat model.

Importing this package loads neither torch nor transformers: they are imported when a model in this
process is first used.
"""

from urial_core.errors import MissingDependencyError

MissingDependencyError.check("langchain_urial", "langchain", "langchain_core")

from langchain_urial.chat_models import ChatUrial, register  # noqa: E402
from langchain_urial.rag import (  # noqa: E402
    RAG_PROMPT,
    create_rag_chain,
    document_citations,
    format_documents,
)
from urial_core import __version__  # noqa: E402

__all__ = [
    "RAG_PROMPT",
    "ChatUrial",
    "__version__",
    "create_rag_chain",
    "document_citations",
    "format_documents",
    "register",
]
