"""What ``UrialLLM`` claims in the conformance suite for LlamaIndex, whatever runs its model."""

from __future__ import annotations

from llamaindex_urial.conformance import LLMConformanceTests


class UrialLLMClaims(LLMConformanceTests):
    """Tools, typed answers, usage and quiet ends; the question gets a short answer."""

    @property
    def prompt(self) -> str:
        return "Name three colors."

    @property
    def distinct_prompts(self) -> list[str]:
        # Answers that are certain: rounding, which differs in a batch, turns none of their tokens.
        countries = ("Germany", "Italy", "Spain", "Japan")
        return [f"What is the capital of {country}?" for country in countries]

    @property
    def supports_tools(self) -> bool:
        return True

    @property
    def returns_usage(self) -> bool:
        return True

    @property
    def closes_quietly(self) -> bool:
        return True
