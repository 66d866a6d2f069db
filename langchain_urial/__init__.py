"""URIAL for LangChain: any base LLM as a first-class chat model.

Importing this package loads neither torch nor transformers: they are imported when a model in this
process is first used.
"""

from langchain_urial.chat_models import ChatUrial, register
from urial_core import __version__

__all__ = ["ChatUrial", "__version__", "register"]
