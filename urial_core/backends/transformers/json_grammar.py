"""Constrained decoding: which tokens may come next in JSON that must match a schema.

llguidance computes the masks; it is optional, and imported at the first JSON schema. Its tokenizer
takes seconds to set up for a large vocabulary, a schema about a millisecond, and the tokens allowed
at one place a fraction of that.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.errors import GenerationError, UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import check_schema, grammar_of
from urial_core.structured.json_closing import Closer, Closing
from urial_core.structured.json_scanner import JsonState

__all__ = ["JsonGrammars", "JsonText"]


class JsonGrammars:
    """JSON schemas, compiled for one tokenizer."""

    def __init__(self, tokenization: Tokenization, vocab_size: int) -> None:
        """Set up llguidance's tokenizer.

        Args:
            tokenization: The model's tokenizer.
            vocab_size: How many logits the model returns.
        """
        from llguidance import LLMatcher, LLTokenizer

        tokenizer = LLTokenizer(
            tokenization.serialized(),
            n_vocab=max(vocab_size, tokenization.size),
            eos_token=sorted(tokenization.end_of_text) or None,
        )
        self._closer = Closer(
            (token, tokenizer.decode_bytes([token]))
            for token in range(tokenizer.vocab_size)
            if not tokenizer.is_special_token(token)
        )
        self._compiled = lru_cache(64)(
            lambda schema: LLMatcher(tokenizer, grammar_of(schema), log_level=0)
        )

    def text(self, schema: JsonSchema, max_tokens: int) -> JsonText:
        """Begin a text of at most ``max_tokens`` that matches a schema.

        If none that matches seems to be so short, it is over at once, with finish "length".

        Raises:
            UnsupportedSchemaError: The schema cannot be enforced.
        """
        matcher = self._compiled(schema)
        if matcher.is_error():
            check_schema(schema)
            raise UnsupportedSchemaError(f"The schema does not compile: {matcher.get_error()}")
        return JsonText(matcher.deep_copy(), self._closer, max_tokens)


class JsonText:
    """A JSON text that is being decoded: what may follow, and how it can be closed in time.

    Attributes:
        pending: Tokens that must be written next, before another is chosen.
        cut: Whether it was closed for lack of tokens: what is pending then closes it.
    """

    def __init__(self, matcher: Any, closer: Closer, max_tokens: int) -> None:
        closing = closer.find(matcher, "structure", max_tokens)
        self.pending = deque[int]()
        self.cut = closing is None
        self._closer = closer
        self._closing = closing or ()
        self._matcher = matcher
        self._tokens_left = max_tokens
        self._state: JsonState = "structure"
        if not self.cut:
            self._advance(matcher, ())

    @property
    def finish(self) -> str | None:
        """Why it is over: "stop", or "length" if it was closed for lack of tokens; None if not."""
        if self.pending:
            return None
        if self._matcher.is_stopped() and not self.cut:
            return "stop"
        return "length" if self.cut or self._tokens_left == 0 else None

    @property
    def may_end(self) -> bool:
        """Whether it is complete as it is, though more may follow, as after a number."""
        return bool(self._matcher.is_accepting())

    def accept(self, token: int) -> None:
        """Append a token, if the text can then still be closed; else make its closing pending.

        Raises:
            GenerationError: The token is not allowed here.
        """
        matcher = self._matcher.deep_copy()
        if not matcher.consume_token(token):
            raise GenerationError(f"The JSON grammar failed: {matcher.get_error()}")
        self._advance(matcher, (token,))

    def _advance(self, matcher: Any, chosen: tuple[int, ...]) -> None:
        forced = matcher.compute_ff_tokens()
        matcher.consume_tokens(forced)
        written = (*chosen, *forced)
        state = self._closer.states(self._state, written)[-1]
        left = self._tokens_left - len(written)
        closing = self._rest_of_closing(matcher, left)
        if closing is None:
            closing = self._closer.find(matcher, state, left)
        if closing is None:
            self.cut = True
            self.pending.extend(self._closing)
            return
        self.pending.extend(written)
        self._matcher, self._state, self._closing, self._tokens_left = matcher, state, closing, left

    def _rest_of_closing(self, matcher: Any, limit: int) -> Closing | None:
        """Return what is left of the last known closing, if it closes the text here too."""
        known = self._closing
        for rest in (known[at:] for at in range(max(len(known) - limit, 0), len(known) + 1)):
            end = matcher.deep_copy()
            if end.try_consume_tokens(list(rest)) == len(rest) and end.is_accepting():
                return rest
        return None

    def allowed(self, vocab_size: int, device: torch.device) -> torch.Tensor:
        """Return which of the model's tokens may come next, as booleans [vocabulary]."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, count=vocab_size, bitorder="little")
        return torch.from_numpy(allowed).to(device).bool()
