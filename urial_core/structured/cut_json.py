"""Cut JSON: servers stop at ``max_tokens`` amid a value, and a weak model may write without end."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from urial_core.structured.constraints import JsonSchema

if TYPE_CHECKING:
    from urial_core.structured.json_closing import Closer

__all__ = ["rest_of"]

_LONGEST = 1000  # bytes of what is added


def rest_of(text: str, schema: JsonSchema) -> str:
    """What makes a beginning of JSON whole, so that it fits its schema; short.

    Nothing is asked of the model: what it was writing is closed, and what is still missing gets the
    least value that fits.

    Args:
        text: The beginning, on one line as ``OneLineJson`` writes it.
        schema: What the whole is to fit.

    Returns:
        The rest; empty if the text is whole, does not begin a value that fits, or cannot be made
        whole: llguidance is missing or does not know the schema.
    """
    if find_spec("llguidance") is None:
        return ""
    from llguidance import LLMatcher

    from urial_core.structured.grammar import grammar_of

    tokenizer, closer = _bytes()
    matcher = LLMatcher(tokenizer, grammar_of(schema), log_level=0)
    written = text.encode()
    if matcher.is_error() or matcher.try_consume_tokens(list(written)) < len(written):
        return ""
    rest = closer.find(matcher, closer.within("", written)[-1], _LONGEST)
    return bytes(rest or ()).decode()


@lru_cache(1)
def _bytes() -> tuple[Any, Closer]:
    """A tokenizer whose tokens are the bytes, and what closes JSON in them."""
    from llguidance import LLTokenizer

    from urial_core.structured.json_closing import Closer

    return LLTokenizer("byte"), Closer((byte, bytes([byte])) for byte in range(256))
