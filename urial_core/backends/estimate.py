"""Estimate a text's tokens where the model's own tokenizer is out of reach."""

from __future__ import annotations

__all__ = ["CHARACTERS_PER_TOKEN", "estimate_tokens"]

CHARACTERS_PER_TOKEN = 3
"""ASCII characters of a token: a careful guess, since common tokenizers take four or more."""


def estimate_tokens(text: str) -> int:
    """Guess from the length: three ASCII characters a token, and one of any other."""
    ascii_characters = sum(map(str.isascii, text))
    return len(text) - ascii_characters + ascii_characters // CHARACTERS_PER_TOKEN + 1
