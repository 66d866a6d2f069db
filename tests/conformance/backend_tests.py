"""The rules of the conformance suite for LlamaIndex that a backend of ``UrialLLM`` can break."""

from __future__ import annotations

from typing import ClassVar

from llamaindex_urial.conformance.answers import AnswerTests, ClosingTests, StreamTests
from llamaindex_urial.conformance.concurrency import ConcurrencyTests
from llamaindex_urial.conformance.structured import StructuredTests
from llamaindex_urial.conformance.tools import ToolTests

__all__ = ["BackendTests"]


class BackendTests(
    AnswerTests, StreamTests, ClosingTests, ConcurrencyTests, ToolTests, StructuredTests
):
    """Answers, streams, closing, concurrency, tools and structured output, at chat's endpoints.

    Between them these use every method of a model. Metadata, events, messages and templates are
    the adapter's: ``test_llamaindex_fake.py`` tests them, and all rules at all endpoints.

    The prompts get short answers, and the model is sure of each token: rounding that differs, in a
    batch or behind a cached prefix, changes no answer.
    """

    endpoints: ClassVar[set[str]] = {"chat", "achat", "stream_chat", "astream_chat"}
    prompt = "What is the capital of Norway?"
    time_limit = 240.0  # a busy machine may need this long for the first call's prompt prefix
    has_tool_calling = True
    returns_usage_metadata = True
    closes_without_error = True

    @property
    def distinct_prompts(self) -> list[str]:
        countries = ("Germany", "Italy", "Spain", "Japan")
        return [f"What is the capital of {country}?" for country in countries]
