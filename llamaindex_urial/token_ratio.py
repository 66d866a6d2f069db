"""Token ratio: how many tokens a model makes of a text, for each that LlamaIndex counts.

LlamaIndex plans prompts with a tokenizer of its own: OpenAI's, or that of ``Settings.tokenizer``.
"""

from __future__ import annotations

from collections.abc import Callable, Sized

import llama_index.core
from llama_index.core.utils import get_tokenizer

from urial_core import CompletionModel
from urial_core.completion import estimate_tokens

__all__ = ["TokenRatio", "global_tokenizer_is_set"]

_SHORT_WORDS = """
the sun is up and the dog runs to the old house by the sea where we sat and ate our bread one cold
day in the fall and then went home to sleep until the bell rang out over the town
"""
_LONG_WORDS = """
The receiving party shall protect all confidential information against unauthorised use, and shall
return or destroy such documents within thirty days after written notice from the other party.
"""
_GERMAN = """
Die Prüfung der Wärmedämmung ergab, dass die Außenwände in der Zwischenzeit ausgebessert worden
waren; die Versicherung lehnte es dennoch ab, für die Kosten aufzukommen.
"""
_CODE = """
def merge(left: list[int], right: list[int]) -> list[int]:
    merged = []
    while left and right:
        if left[0] <= right[0]:
            merged.append(left.pop(0))
        else:
            merged.append(right.pop(0))
    return merged + left + right
"""
_FIGURES = """
{"id": 4711, "name": "Anna Berg", "date": "2024-03-15", "total": 1284.50, "tags": ["new", "EU"]}
Net sales rose 12.5% to $1,234.5 million (2022: $1,097.1 million), or $0.42 per share.
"""
_SAMPLES = (_SHORT_WORDS, _LONG_WORDS, _GERMAN, _CODE, _FIGURES)
"""Texts of the kinds that applications index; tokenizers differ most where a text is not prose."""


class TokenRatio:
    """The model's tokens for each token that LlamaIndex counts, where the ratio is largest.

    It follows ``Settings.tokenizer``, and is 1 where that is the model's own.
    """

    def __init__(self, model: CompletionModel) -> None:
        """Count nothing yet."""
        self._model = model
        self._counted: tuple[object, float] = (None, 1.0)
        self._estimate: tuple[object, float] = (None, 1.0)

    @property
    def counted(self) -> float:
        """The ratio, counted with both tokenizers; may load the model's or ask a server."""
        tokenizer = get_tokenizer()
        if self._counted[0] is not tokenizer:
            self._counted = tokenizer, _largest_ratio(self._model.count_tokens, tokenizer)
        return self._counted[1]

    @property
    def estimate(self) -> float:
        """As ``counted``, or estimated where it was not counted yet."""
        tokenizer = get_tokenizer()
        if self._counted[0] is tokenizer:
            return self._counted[1]
        if self._estimate[0] is not tokenizer:
            self._estimate = tokenizer, _largest_ratio(estimate_tokens, tokenizer)
        return self._estimate[1]


def global_tokenizer_is_set() -> bool:
    """Return whether LlamaIndex has loaded its tokenizer, or was given one."""
    return llama_index.core.global_tokenizer is not None


def _largest_ratio(count: Callable[[str], int], tokenizer: Callable[[str], Sized]) -> float:
    start, other_start = count(""), len(tokenizer(""))  # tokens that begin every text
    return max(
        (count(sample) - start) / max(len(tokenizer(sample)) - other_start, 1)
        for sample in _SAMPLES
    )
