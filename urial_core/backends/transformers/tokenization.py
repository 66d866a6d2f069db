"""Tokenization: text to token ids and back, safe to call from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from tokenizers.decoders import DecodeStream

from urial_core.errors import UnsupportedModelError

__all__ = ["Tokenization"]

_PRIMING = 8
"""Tokens of the page that a decoder must have seen to place spaces rightly."""


class Tokenization:
    """A model's tokenizer behind a lock, since fast tokenizers are not thread-safe."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a fast tokenizer of transformers.

        Raises:
            UnsupportedModelError: The tokenizer is a slow one.
        """
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is None:
            raise UnsupportedModelError(
                f"{type(tokenizer).__name__} is not a fast tokenizer, and only those decode token "
                "by token. Load it with AutoTokenizer.from_pretrained(...)."
            )
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.end_of_text: int | None = tokenizer.eos_token_id
        self.size = len(tokenizer)

    def encode(self, text: str) -> list[int]:
        """Encode a page, with the begin-of-text token where the model wants one.

        Text that spells a special token, such as ``</s>``, stays text: a user must not be able to
        write one.
        """
        with self._lock:
            ids = self._tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"]
        return list(ids)

    def serialized(self) -> str:
        """The tokenizer in the JSON form of ``tokenizers``, without padding and truncation."""
        with self._lock:
            tokenizer = self._backend
            if tokenizer.padding or tokenizer.truncation:
                tokenizer = copy(tokenizer)  # takes a second for a large vocabulary
                tokenizer.no_padding()
                tokenizer.no_truncation()
            return str(tokenizer.to_str())

    def decode(self, token: int) -> str:
        """The text of one token by itself."""
        with self._lock:
            return str(self._tokenizer.decode([token]))

    def decode_reply(self, page: Sequence[int], tokens: Sequence[int]) -> str:
        """The text of a reply's first tokens."""
        step = self.decoder(page)
        return "".join(step(token) for token in tokens)

    def decoder(self, page: Sequence[int]) -> Callable[[int], str]:
        """A function that takes a reply's tokens one by one and returns the text each completes.

        Characters of several tokens come out whole, with the token that completes them.
        """
        stream = DecodeStream(ids=list(page[-_PRIMING:]), skip_special_tokens=True)

        def step(token: int) -> str:
            with self._lock:
                return stream.step(self._backend, token) or ""

        return step
