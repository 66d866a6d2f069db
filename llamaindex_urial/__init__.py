"""URIAL for LlamaIndex: any base LLM as a first-class LLM for engines and agents.

Importing this package loads neither torch nor transformers nor LangChain: they are imported when a
model that needs them is first used.
"""

from urial_core.errors import MissingDependencyError

MissingDependencyError.check("llamaindex_urial", "llamaindex", "llama_index.core")

from llamaindex_urial.llm import UrialLLM  # noqa: E402
from urial_core import __version__  # noqa: E402

__all__ = ["UrialLLM", "__version__"]
