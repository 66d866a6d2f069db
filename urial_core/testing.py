"""A fake completion model, for tests of this project and of applications."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    ModelFeatures,
    Tokenizer,
    joined,
)

__all__ = ["FakeModel"]


class FakeModel:
    r"""A completion model that replays given responses instead of computing any.

    Each request gets the next response; after the last, it starts over. As many real engines do, it
    ignores stop sequences and writes on: cutting the reply is the caller's work. A token is a word.

    Example:
        >>> model = FakeModel(["Hello", " there!", "\n````\n"])

    Attributes:
        name: The model's name.
        requests: The requests received, in order.
        chunks_sent: How many chunks were taken; shows whether a stream was stopped early.
        closed: How many streams were closed or ran to their end.
    """

    def __init__(
        self,
        *responses: Iterable[str | CompletionChunk | Exception],
        name: str = "fake",
        context_window: int | None = None,
        delay: float = 0.0,
        features: ModelFeatures | None = None,
        may_echo: bool = False,
    ) -> None:
        """Create the model.

        Args:
            responses: For each request, the pieces of text to send, or whole chunks; an exception
                among them is raised in its place. Default: "Hello!".
            name: The model's name.
            context_window: Its context window, in words. Default: unknown.
            delay: Seconds to wait before each piece.
            features: The features that it reports. Default: none. Responses to constrained requests
                are sent as they are given: make sure that they match.
            may_echo: Whether a copy of the prompt at a response's start is to be removed.
        """
        self.name = name
        self._features = features or ModelFeatures()
        self.requests = list[CompletionRequest]()
        self.chunks_sent = 0
        self.closed = 0
        self._responses: list[list[str | CompletionChunk | Exception]] = [
            [response] if isinstance(response, str) else list(response)
            for response in responses or ["Hello!"]
        ]
        self._window = context_window
        self._delay = delay
        self._may_echo = may_echo

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The name and the responses."""
        return {"name": self.name, "responses": repr(self._responses)}

    @property
    def context_window(self) -> int | None:
        """The context window given, in words."""
        return self._window

    @property
    def known_context_window(self) -> int | None:
        """The context window given, in words."""
        return self._window

    @property
    def may_echo(self) -> bool:
        """As given."""
        return self._may_echo

    @property
    def features(self) -> ModelFeatures:
        """The features given."""
        return self._features

    @property
    def tokenizer(self) -> Tokenizer:
        """A tokenizer whose tokens are words, each with an id of its own."""
        return lambda text: [crc32(word.encode()) for word in text.split()]

    def count_tokens(self, text: str) -> int:
        """Count words."""
        return len(text.split())

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Replay one response for each request."""
        return [joined(list(self.stream(request))) for request in requests]

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Replay the next response, piece by piece."""
        response = self._next_response(request)
        try:
            for number, piece in enumerate(response, 1):
                time.sleep(self._delay)
                yield self._chunk(piece, last=number == len(response))
        finally:
            self.closed += 1

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Replay one response for each request; all wait out their delays together."""

        async def completed(request: CompletionRequest) -> Completion:
            return joined([chunk async for chunk in self.astream(request)])

        return list(await asyncio.gather(*map(completed, requests)))

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Replay the next response, piece by piece, without blocking the event loop."""
        response = self._next_response(request)
        try:
            for number, piece in enumerate(response, 1):
                await asyncio.sleep(self._delay)
                yield self._chunk(piece, last=number == len(response))
        finally:
            self.closed += 1

    def _next_response(self, request: CompletionRequest) -> list[str | CompletionChunk | Exception]:
        self.requests.append(request)
        return self._responses[(len(self.requests) - 1) % len(self._responses)]

    def _chunk(self, piece: str | CompletionChunk | Exception, *, last: bool) -> CompletionChunk:
        if isinstance(piece, Exception):
            raise piece
        self.chunks_sent += 1
        if isinstance(piece, CompletionChunk):
            return piece
        return CompletionChunk(piece, finish="stop" if last else None)
