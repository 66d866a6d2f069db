"""Sampling settings: how replies are sampled, as fields of both frameworks' chat classes."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["SamplingSettings"]


class SamplingSettings(BaseModel):
    """The parameters of ``GenerationParameters`` as fields; None means unset."""

    max_tokens: int | None = None
    """Most tokens of a reply. Default: 1024, or what the window leaves."""

    temperature: float | None = None
    """0 is greedy. Default: what ``llm`` has set, or 0."""

    top_p: float | None = None
    """Nucleus sampling. Default: what ``llm`` has set, or 1."""

    top_k: int | None = None
    """Sample from this many tokens. Default: what ``llm`` has set, or no limit."""

    repetition_penalty: float | None = None
    """Over the reply's own tokens. Default: what ``llm`` has set, or 1.1."""

    frequency_penalty: float | None = None
    """Over the reply's own tokens. Default: what ``llm`` has set, or 0."""

    presence_penalty: float | None = None
    """Over the reply's own tokens. Default: what ``llm`` has set, or 0."""

    dry_multiplier: float | None = None
    """DRY: penalizes copying the prompt's examples and the assistant's earlier replies; needs an
    engine that has it (transformers in this process, llama.cpp). Default: 0, off."""

    dry_base: float | None = None
    """How fast that penalty grows with the copied sequence. Default: 1.75."""

    dry_allowed_length: int | None = None
    """Tokens in a row that may be copied freely. Default: 2."""

    dry_sequence_breakers: list[str] | None = None
    """Strings at which a copied sequence ends, beside line breaks. Default: none."""

    end_bias: float | None = None
    """Raises the probability of the reply's end with each token, so that it comes to one: nats for
    each 100 tokens of the reply; transformers in this process alone. Default: 0, off."""

    banned_openers: list[str] | None = None
    """Words that a reply must not begin with; transformers in this process alone. Default: none."""

    seed: int | None = None
    """Makes sampling repeatable."""

    max_string_length: int | None = None
    """Most characters of a string in JSON, where the schema does not say; a value that reaches the
    limit is invalid. Default: 4000."""

    max_items: int | None = None
    """Most items of a list in JSON, where the schema does not say. Default: 100."""

    max_digits: int | None = None
    """Most digits of an integer in JSON, where the schema does not say. Default: 17."""

    logprobs: bool = False
    """Whether to report log-probabilities."""

    top_logprobs: int | None = None
    """How many alternatives to report for each token; implies ``logprobs``."""
