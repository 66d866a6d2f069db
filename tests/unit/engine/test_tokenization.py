"""Encode text, and decode it token by token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core.backends.transformers.tokenization import Tokenization


@pytest.fixture(scope="module")
def tokenization(tokenizer: Any) -> Tokenization:
    return Tokenization(tokenizer)


@given(text=st.text(max_size=60))
def test_pieces_add_up(tokenizer: Any, text: str) -> None:
    """Decoding token by token gives the text, with every character whole."""
    tokenization = Tokenization(tokenizer)
    ids = tokenization.encode(text)[1:]
    step = tokenization.decoder([0])
    pieces = [step(token) for token in ids]
    assert "".join(pieces) == text


def test_emoji_are_decoded_whole(tokenization: Tokenization) -> None:
    """A character of several tokens is returned with the token that completes it."""
    ids = tokenization.encode("👩‍💻é日")[1:]
    step = tokenization.decoder([0])
    assert "\ufffd" not in "".join(step(token) for token in ids)
    assert len(ids) > 5


def test_special_tokens_in_text_stay_text(tokenization: Tokenization) -> None:
    """A special token's name in a user's text is encoded as text, not as the token."""
    ids = tokenization.encode("a</s>b")
    assert ids[0] == 0
    assert 1 not in ids
    assert tokenization.decode_reply([0], ids[1:]) == "a</s>b"
