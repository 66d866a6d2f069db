"""JSON grammar: which tokens may come next in a JSON text that fits a schema.

llguidance does the work. Its tokenizer takes seconds to set up for a large vocabulary, a schema
about a millisecond, and the tokens allowed at one place a fraction of that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import llguidance
import numpy as np
import torch

from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.errors import GenerationError, ParameterError, UnsupportedSchemaError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import check_schema, grammar_of
from urial_core.structured.json_closing import Closer, Closing, Within

__all__ = ["JsonGrammars", "JsonText"]


class JsonGrammars:
    """Schemas, compiled for one tokenizer."""

    def __init__(
        self, tokenization: Tokenization, vocabulary: int, end_of_text: Collection[int]
    ) -> None:
        """Set up the tokenizer.

        Args:
            tokenization: The model's tokenizer.
            vocabulary: How many tokens the model scores.
            end_of_text: The tokens that end a text.
        """
        tokenizer = llguidance.LLTokenizer(
            tokenization.serialized(),
            n_vocab=max(vocabulary, tokenization.size),
            eos_token=sorted(end_of_text) or None,
        )
        self._closer = Closer(
            (token, tokenizer.decode_bytes([token]))
            for token in range(tokenizer.vocab_size)
            if not tokenizer.is_special_token(token)
        )
        self._compiled = lru_cache(64)(
            lambda schema: llguidance.LLMatcher(tokenizer, grammar_of(schema), log_level=0)
        )

    def text(self, schema: JsonSchema, room: int) -> JsonText:
        """Begin a text that is to fit a schema.

        Args:
            schema: The schema.
            room: The most tokens that the text may have.

        Raises:
            UnsupportedSchemaError: The schema cannot be enforced.
            ParameterError: No text that fits the schema seems to be so short.
        """
        matcher = self._compiled(schema)
        if matcher.is_error():
            check_schema(schema)
            raise UnsupportedSchemaError(f"The schema does not compile: {matcher.get_error()}")
        return JsonText(matcher.deep_copy(), self._closer, room)


class JsonText:
    """A JSON text that is being written: what may follow, and how it can still be closed in time.

    Attributes:
        pending: Tokens that must be written next, before another is chosen.
    """

    def __init__(self, matcher: Any, closer: Closer, room: int) -> None:
        closing = closer.find(matcher, "", room)
        if closing is None:
            raise ParameterError(
                f"max_tokens is {room}, too few for the shortest JSON that fits the schema (if any "
                "fits at all): raise it or simplify the schema."
            )
        self.pending = deque[int]()
        self._cut = False
        self._closer = closer
        self._closing = closing
        self._matcher = matcher
        self._room = room
        self._within: Within = ""
        self._go_on(matcher, ())

    @property
    def finish(self) -> str | None:
        """Why it is over: "stop", or "length" if it was closed for lack of room; None if not."""
        if self.pending:
            return None
        if self._matcher.is_stopped() and not self._cut:
            return "stop"
        return "length" if self._cut or self._room == 0 else None

    @property
    def may_end(self) -> bool:
        """Whether it is whole as it is, though more may follow, as after a number."""
        return bool(self._matcher.is_accepting())

    def accept(self, token: int) -> None:
        """Write a token, if the text can then still be closed; else have its closing pending.

        Raises:
            GenerationError: The token does not fit here.
        """
        matcher = self._matcher.deep_copy()
        if not matcher.consume_token(token):
            raise GenerationError(f"The JSON grammar failed: {matcher.get_error()}")
        self._go_on(matcher, (token,))

    def _go_on(self, matcher: Any, chosen: tuple[int, ...]) -> None:
        forced = self._forced(matcher)
        matcher.consume_tokens(forced)
        written = (*chosen, *forced)
        state = self._closer.within(self._within, written)[-1]
        room = self._room - len(written)
        closing = self._still_closing(matcher, room)
        if closing is None:
            closing = self._closer.find(matcher, state, room)
        if closing is None:
            self._cut = True
            self.pending.extend(self._closing)
            return
        self.pending.extend(written)
        self._matcher, self._within, self._closing, self._room = matcher, state, closing, room

    @staticmethod
    def _forced(matcher: Any) -> list[int]:
        """The tokens that must follow."""
        return list(matcher.compute_ff_tokens())

    def _still_closing(self, matcher: Any, room: int) -> Closing | None:
        """What is left of the last known closing, if it closes the text here too."""
        known = self._closing
        for rest in (known[at:] for at in range(max(len(known) - room, 0), len(known) + 1)):
            end = matcher.deep_copy()
            if end.try_consume_tokens(list(rest)) == len(rest) and end.is_accepting():
                return rest
        return None

    def allowed(self, vocabulary: int, device: torch.device) -> torch.Tensor:
        """Which of the tokens that the model scores may come next, as booleans [vocabulary]."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, count=vocabulary, bitorder="little")
        return torch.from_numpy(allowed).to(device).bool()
