"""What ``UrialLLM`` claims in the conformance suite for LlamaIndex, whatever runs its model."""

from __future__ import annotations

from llamaindex_urial.conformance import LLMConformanceTests


class UrialLLMClaims(LLMConformanceTests):
    """Tools, typed answers, usage and quiet ends.

    What is asked gets short answers, of whose every token the model is sure: what a server rounds
    differently in a batch, or behind a page that it kept, turns none.
    """

    @property
    def prompt(self) -> str:
        return "What is the capital of Norway?"

    @property
    def distinct_prompts(self) -> list[str]:
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
