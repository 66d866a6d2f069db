"""URIAL for LlamaIndex: any base LLM as a first-class LLM for engines and agents.

Importing this package loads neither torch nor transformers nor LangChain: they are imported when a
model that needs them is first used.
"""

from urial_core.errors import MissingDependencyError

MissingDependencyError.check("llamaindex_urial", "llamaindex", "llama_index.core")

from llamaindex_urial.llm import UrialLLM  # noqa: E402
from llamaindex_urial.rag import (  # noqa: E402
    NumberedPassages,
    rag_templates,
    response_citations,
)
from urial_core import __version__  # noqa: E402

__all__ = [
    "NumberedPassages",
    "UrialLLM",
    "__version__",
    "rag_templates",
    "response_citations",
]
