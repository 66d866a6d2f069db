"""Page: one request's text to be read."""

from __future__ import annotations

from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionRequest

__all__ = ["Page"]


class Page:
    """What the engine reads of one request.

    Attributes:
        number: The request's place among those given.
        request: The request.
        ids: The tokens to read.
        reused: Of them, those whose keys and values an earlier request left.
    """

    def __init__(self, number: int, request: CompletionRequest, tokenization: Tokenization) -> None:
        self.number = number
        self.request = request
        self.ids = tuple(tokenization.encode(request.prompt))
        self.reused = 0
