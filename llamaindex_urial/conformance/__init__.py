"""A conformance suite for LLMs of LlamaIndex, run with pytest.

LangChain has one (langchain-tests), LlamaIndex has none. Subclass ``LLMConformanceTests`` and
return your LLM from the fixture ``llm``. Each test states a rule that llama-index-core relies on,
and a failing test shows the rule.

    claims.py       what an LLM claims, and how tests call it within a time limit
    calls.py        the methods of an LLM, and a recorder of the events that they report
    metadata.py     metadata and serialization
    answers.py      responses of all eight methods, streaming, closing early, errors
    events.py       callback handlers and the instrumentation dispatcher
    concurrency.py  threads, tasks, the event loop
    messages.py     conversations as engines and agents send them
    tools.py        tool calling
    structured.py   templates in, text or pydantic objects out
"""

# ruff: noqa: E402 - assertions must be registered first

from pkgutil import iter_modules

import pytest

# Before they are imported, so that failing assertions show their values.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from llamaindex_urial.conformance.answers import AnswerTests, ClosingTests, StreamTests
from llamaindex_urial.conformance.concurrency import ConcurrencyTests
from llamaindex_urial.conformance.events import EventTests
from llamaindex_urial.conformance.messages import MessageTests
from llamaindex_urial.conformance.metadata import MetadataTests
from llamaindex_urial.conformance.structured import PredictionTests, StructuredTests
from llamaindex_urial.conformance.tools import ToolTests

__all__ = ["LLMConformanceTests"]


class LLMConformanceTests(
    MetadataTests,
    AnswerTests,
    StreamTests,
    EventTests,
    ClosingTests,
    ConcurrencyTests,
    MessageTests,
    PredictionTests,
    ToolTests,
    StructuredTests,
):
    """Test what LlamaIndex expects of an LLM.

    Subclass it, override the fixture ``llm``, and set what your LLM claims.

    Example:
        >>> class TestMyLLM(LLMConformanceTests):
        ...     @pytest.fixture
        ...     def llm(self) -> LLM:
        ...         return MyLLM(temperature=0)
        ...
        ...     @property
        ...     def has_tool_calling(self) -> bool:
        ...         return True
    """
