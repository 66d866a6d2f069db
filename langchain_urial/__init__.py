"""URIAL for LangChain: any base LLM as a first-class chat model.

Importing this package loads neither torch nor transformers; a model in this process does, when it
is first used.
"""

from langchain_urial.chat_models import ChatUrial
from langchain_urial.registration import register
from urial_core import __version__

__all__ = ["ChatUrial", "__version__", "register"]
