"""Encode text as token ids and decode them, safely from several threads."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from itertools import compress, count
from operator import ne
from typing import Any

from tokenizers.decoders import DecodeStream

from urial_core.errors import UnsupportedModelError
from urial_core.prompts.escaping import encodable

__all__ = ["Tokenization", "common_prefix"]

_PRIMING_TOKENS = 8
"""Tokens of the prompt that a decoder must have seen to place spaces correctly."""
_REMEMBERED_TEXTS = 64
"""A prompt is encoded where its tokens are counted, and where it is read."""


class Tokenization:
    """A model's tokenizer behind a lock, since fast tokenizers are not thread-safe.

    Attributes:
        end_of_text: The tokens that end a text; the engine adds those that the model declares.
        size: How many tokens the tokenizer knows.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a fast tokenizer of transformers.

        Raises:
            UnsupportedModelError: The tokenizer is None or a slow one.
        """
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is None:
            raise UnsupportedModelError(
                f"The tokenizer is of type {type(tokenizer).__name__}: pass the model's fast "
                "tokenizer, as AutoTokenizer.from_pretrained(...) returns it, since only those "
                "decode token by token."
            )
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._encoded = lru_cache(_REMEMBERED_TEXTS)(self._encode)
        self.end_of_text = set[int]()
        self.add_end_of_text(tokenizer.eos_token_id)
        self.size = len(tokenizer)
        text: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole: list[int] = tokenizer("a")["input_ids"]
        ends = (at for at in range(len(text), len(whole)) if whole[at - len(text) : at] == text)
        self._added_at_end = len(whole) - next(ends, len(whole))

    def add_end_of_text(self, declared: int | list[int] | None) -> None:
        """Add the end-of-text tokens that a configuration declares."""
        if declared is not None:
            self.end_of_text |= set(declared if isinstance(declared, list) else [declared])

    def encode(self, text: str) -> list[int]:
        """Encode a prompt, with the begin-of-text token where the model wants one.

        Text that spells a special token, such as ``</s>``, stays text: a user must not be able to
        write one. An end-of-text token that the tokenizer adds is left out: the text goes on.
        """
        return self._encoded(encodable(text)).tolist()

    def _encode(self, text: str) -> array[int]:
        with self._lock:
            encoded = self._tokenizer(text, split_special_tokens=True, verbose=False)
        ids: list[int] = encoded["input_ids"]
        return array("I", ids[: len(ids) - self._added_at_end])

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token's id, special tokens included."""
        with self._lock:
            vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return vocabulary

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Encode a conversation with the model's own chat template, up to where its reply begins.

        Args:
            messages: ``role`` and ``content`` of each message.

        Raises:
            UnsupportedModelError: The model has no chat template, or it refuses the conversation.
        """
        try:
            with self._lock:
                ids: list[int] = self._tokenizer.apply_chat_template(
                    list(messages), add_generation_prompt=True, return_dict=False
                )
        except Exception as error:  # of many kinds: templates raise their own
            raise UnsupportedModelError(
                f"The model's chat template cannot write the conversation: {error} (Only a tuned "
                "model has a chat template.)"
            ) from error
        return ids

    def unknown(self, vocab_size: int) -> list[int]:
        """Return the ids below a model's vocabulary size that the tokenizer has no token for.

        Many models have more logits than tokens, so that their matrices have round sizes.
        """
        if vocab_size <= self.size:
            return []
        known = set(self.vocabulary.values())
        return [token for token in range(vocab_size) if token not in known]

    def serialized(self) -> str:
        """Return the tokenizer as JSON of ``tokenizers``, without padding and truncation."""
        with self._lock:
            tokenizer = self._backend
            if tokenizer.padding or tokenizer.truncation:
                tokenizer = copy(tokenizer)  # takes a second for a large vocabulary
                tokenizer.no_padding()
                tokenizer.no_truncation()
            return str(tokenizer.to_str())

    def decode(self, token: int) -> str:
        """Return the text of one token by itself."""
        with self._lock:
            return str(self._tokenizer.decode([token]))

    def decode_reply(self, prompt: Sequence[int], tokens: Sequence[int]) -> str:
        """Return the text of a reply's first tokens, which follow a prompt's."""
        step = self.decoder(prompt)
        return "".join(step(token) for token in tokens)

    def decoder(self, prompt: Sequence[int]) -> Callable[[int], str]:
        """Return a function that takes a reply's tokens one by one and returns their text.

        Characters of several tokens are returned whole, with the token that completes them.
        """
        stream = DecodeStream(ids=list(prompt[-_PRIMING_TOKENS:]), skip_special_tokens=True)

        def step(token: int) -> str:
            with self._lock:
                return stream.step(self._backend, token) or ""

        return step


def common_prefix(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """Return how many tokens two sequences share from their start."""
    differences = compress(count(), map(ne, first, second))  # at the speed of C
    return next(differences, min(len(first), len(second)))
