"""JSON grammar: which tokens may come next in a JSON text that fits a schema.

llguidance does the work. Its tokenizer takes seconds to set up for a large vocabulary, a schema
about a millisecond, and the tokens allowed at one place a fraction of that.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import llguidance
import torch

from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.constraint import JsonSchema
from urial_core.errors import GenerationError, UnsupportedSchemaError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

__all__ = ["JsonGrammars", "JsonMatcher", "check_schema"]

_STYLE: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": '"\\bfnrt',  # without \u: Unicode is written as it is
}


def check_schema(schema: JsonSchema) -> None:
    """See to it that a schema can be enforced.

    Raises:
        UnsupportedSchemaError: It cannot.
    """
    _, problems = llguidance.LLMatcher.validate_grammar_with_warnings(_grammar(schema))
    if problems:
        raise UnsupportedSchemaError(f"The schema cannot be enforced: {'; '.join(problems)}")


def _grammar(schema: JsonSchema) -> str:
    return str(llguidance.LLMatcher.grammar_from_json_schema(schema.text, overrides=_STYLE))


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
        self._compiled = lru_cache(64)(
            lambda schema: llguidance.LLMatcher(tokenizer, _grammar(schema), log_level=0)
        )

    def matcher(self, schema: JsonSchema) -> JsonMatcher:
        """A matcher at the beginning of a text that is to fit a schema."""
        return JsonMatcher(self._compiled(schema).deep_copy())


class JsonMatcher:
    """Follows a JSON text token by token, and knows what may come next."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def complete(self) -> bool:
        """Whether the text is whole and nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def may_end(self) -> bool:
        """Whether the text is whole as it is, though more may follow, as after a number."""
        return bool(self._matcher.is_accepting())

    def accept(self, token: int) -> None:
        """Go on behind a token.

        Raises:
            GenerationError: The token is not allowed here, or the grammar became too complex.
        """
        if not self._matcher.consume_token(token):
            raise GenerationError(f"The JSON grammar failed: {self._matcher.get_error()}")

    def forced(self) -> list[int]:
        """Go on behind all tokens that only one text allows; return them."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        for token in tokens:
            self.accept(token)
        return tokens

    def allowed(self, vocabulary: int, device: torch.device) -> torch.Tensor:
        """Which of the tokens that the model scores may come next, as booleans [vocabulary]."""
        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        spread = bits.to(device)[:, None].bitwise_right_shift(_bit_numbers(device)).bitwise_and(1)
        allowed = spread.flatten()[:vocabulary].bool()
        missing = vocabulary - allowed.numel()
        return torch.nn.functional.pad(allowed, (0, missing)) if missing else allowed


@lru_cache(4)
def _bit_numbers(device: torch.device) -> torch.Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)
