"""Token ratios: how many tokens a model makes of a text, for each that LlamaIndex counts.

LlamaIndex plans prompts with a tokenizer of its own: OpenAI's, or that of ``Settings.tokenizer``.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

import llama_index.core
from llama_index.core.utils import get_tokenizer

from urial_core import CompletionModel, Message, Prompt
from urial_core.completion import estimate_tokens
from urial_core.composing import conversation_text

__all__ = ["Ratios", "TokenRatios", "global_tokenizer_is_set"]

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


_CONVERSATION = (
    Message("user", "Hi! When does the library open on Sunday, please?"),
    Message("assistant", "It opens at ten on Sundays."),
    Message("user", "And is there anything for children in the morning?"),
    Message(
        "assistant", "Yes, there is a story hour at half past ten, in the room on the upper floor."
    ),
    Message("user", "Thank you. Do we have to book it?"),
    Message("assistant", "No. Come a little earlier, since there are chairs for twenty children."),
)
"""A conversation of short messages, in which turn headers weigh much."""


@dataclass(frozen=True, slots=True)
class Ratios:
    """The model's tokens for each token that LlamaIndex counts.

    Attributes:
        text: In a text by itself, of the kind where the ratio is largest; 1 where LlamaIndex's
            tokenizer is the model's own.
        turns: In a conversation of short messages as the prompt holds it, with turn headers and
            delimiters, where LlamaIndex's memories count the messages' contents alone.
    """

    text: float = 1.0
    turns: float = 1.0


class TokenRatios:
    """Counts the ratios, and follows ``Settings.tokenizer``."""

    def __init__(self, model: CompletionModel, prompt: Prompt) -> None:
        """Count nothing yet."""
        self._model = model
        self._prompt = prompt
        self._counted: tuple[object, Ratios] = (None, Ratios())
        self._estimate: tuple[object, Ratios] = (None, Ratios())

    @property
    def counted(self) -> Ratios:
        """The ratios, counted with both tokenizers; may load the model's or ask a server."""
        tokenizer = get_tokenizer()
        if self._counted[0] is not tokenizer:
            self._counted = tokenizer, self._ratios(self._model.count_tokens, tokenizer)
        return self._counted[1]

    @property
    def estimate(self) -> Ratios:
        """As ``counted``, or estimated where they were not counted yet."""
        tokenizer = get_tokenizer()
        if self._counted[0] is tokenizer:
            return self._counted[1]
        if self._estimate[0] is not tokenizer:
            self._estimate = tokenizer, self._ratios(estimate_tokens, tokenizer)
        return self._estimate[1]

    def _ratios(self, count: Callable[[str], int], tokenizer: Callable[[str], Sized]) -> Ratios:
        start, other_start = count(""), len(tokenizer(""))  # tokens that begin every text

        def ratio(written: str, counted: str) -> float:
            return (count(written) - start) / max(len(tokenizer(counted)) - other_start, 1)

        contents = " ".join(message.text for message in _CONVERSATION)
        return Ratios(
            max(ratio(sample, sample) for sample in _SAMPLES),
            ratio(conversation_text(self._prompt, _CONVERSATION), contents),
        )


def global_tokenizer_is_set() -> bool:
    """Return whether LlamaIndex has loaded its tokenizer, or was given one."""
    return llama_index.core.global_tokenizer is not None
