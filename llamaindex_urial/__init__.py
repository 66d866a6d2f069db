"""URIAL for LlamaIndex: any base LLM as a first-class LLM for engines and agents.

Importing this package loads neither torch nor transformers nor LangChain: they are imported when a
model that needs them is first used.
"""

from llamaindex_urial.llm import UrialLLM
from urial_core import __version__

__all__ = ["UrialLLM", "__version__"]
