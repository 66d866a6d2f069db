"""What ``UrialLLM`` claims in the conformance suite for LlamaIndex, whatever runs its model."""

from __future__ import annotations

from llamaindex_urial.conformance.claims import LLMClaims

__all__ = ["UrialLLMClaims"]


class UrialLLMClaims(LLMClaims):
    """Tools, structured output, usage, and closing early without an error.

    The prompts get short answers, and the model is sure of each token: rounding that differs, in a
    batch or behind a cached prefix, changes no answer.
    """

    prompt = "What is the capital of Norway?"
    time_limit = 240.0  # a busy machine may need this long for the first call's prompt prefix
    has_tool_calling = True
    returns_usage_metadata = True
    closes_without_error = True

    @property
    def distinct_prompts(self) -> list[str]:
        countries = ("Germany", "Italy", "Spain", "Japan")
        return [f"What is the capital of {country}?" for country in countries]
