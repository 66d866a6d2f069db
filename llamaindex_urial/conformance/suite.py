"""All the tests in one class."""

from __future__ import annotations

from llamaindex_urial.conformance.answers import AnswerTests
from llamaindex_urial.conformance.description import DescriptionTests
from llamaindex_urial.conformance.events import EventTests
from llamaindex_urial.conformance.leaving import LeavingTests
from llamaindex_urial.conformance.messages import MessageTests
from llamaindex_urial.conformance.overlapping import OverlappingTests
from llamaindex_urial.conformance.prediction import PredictionTests
from llamaindex_urial.conformance.streams import StreamTests
from llamaindex_urial.conformance.structured import StructuredTests
from llamaindex_urial.conformance.tools import ToolTests

__all__ = ["LLMConformanceTests"]


class LLMConformanceTests(
    DescriptionTests,
    AnswerTests,
    StreamTests,
    EventTests,
    LeavingTests,
    OverlappingTests,
    MessageTests,
    PredictionTests,
    ToolTests,
    StructuredTests,
):
    """What LlamaIndex expects of an LLM.

    Subclass it, give the fixture ``llm``, and say what your LLM claims.

    Example:
        >>> class TestMyLLM(LLMConformanceTests):
        ...     @pytest.fixture
        ...     def llm(self) -> LLM:
        ...         return MyLLM(temperature=0)
        ...
        ...     @property
        ...     def supports_tools(self) -> bool:
        ...         return True
    """
