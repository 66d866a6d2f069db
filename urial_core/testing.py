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
)

__all__ = ["FakeModel"]


class FakeModel:
    r"""A completion model that replays given text instead of computing any.

    Each request takes the next script; after the last, it starts over. As many real engines do, it
    ignores stop strings and writes on: cutting the reply is the wrapper's work. A token is a word.

    Example:
        >>> model = FakeModel(["Hello", " there!", "\n````\n"])

    Attributes:
        requests: The requests received, in order.
        chunks_sent: How many chunks were taken; shows whether a stream was stopped early.
        closed: How many streams were closed or ran to their end.
    """

    def __init__(
        self,
        *scripts: Iterable[str | Exception],
        name: str = "scripted",
        context_window: int | None = None,
        delay: float = 0.0,
        features: ModelFeatures | None = None,
    ) -> None:
        """Create the model.

        Args:
            scripts: For each request, the pieces of text to send; an exception among them is
                raised in its place.
            name: The model's name.
            context_window: Its window, in words.
            delay: Seconds to wait before each piece.
            features: What it says that it can do besides. Its responses, those to constrained
                requests too, are sent as they are given: make sure that they match.
        """
        self.requests = list[CompletionRequest]()
        self.chunks_sent = 0
        self.closed = 0
        self._scripts: list[list[str | Exception]] = [
            [script] if isinstance(script, str) else list(script) for script in scripts
        ] or [["Hello!"]]
        self._name = name
        self._window = context_window
        self._delay = delay
        self._features = features or ModelFeatures()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """The name and the scripts."""
        return {"name": self._name, "scripts": repr(self._scripts)}

    @property
    def context_window(self) -> int | None:
        """The window given, in words."""
        return self._window

    @property
    def known_context_window(self) -> int | None:
        """The window given, in words."""
        return self._window

    @property
    def tokenizer(self) -> Tokenizer:
        """Words as tokens, each with a number of its own."""
        return lambda text: [crc32(word.encode()) for word in text.split()]

    def count_tokens(self, text: str) -> int:
        """Count words."""
        return len(text.split())

    @property
    def features(self) -> ModelFeatures:
        """What was given when the model was created."""
        return self._features

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Replay one script for each request."""
        return [self._joined(list(self.stream(request))) for request in requests]

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Replay the next script, piece by piece."""
        script = self._next_script(request)
        try:
            for number, piece in enumerate(script, 1):
                time.sleep(self._delay)
                yield self._chunk(piece, last=number == len(script))
        finally:
            self.closed += 1

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """As ``complete``; all requests wait out their delays together."""
        streams = [self._collected(request) for request in requests]
        return list(await asyncio.gather(*streams))

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``."""
        script = self._next_script(request)
        try:
            for number, piece in enumerate(script, 1):
                await asyncio.sleep(self._delay)
                yield self._chunk(piece, last=number == len(script))
        finally:
            self.closed += 1

    async def _collected(self, request: CompletionRequest) -> Completion:
        return self._joined([chunk async for chunk in self.astream(request)])

    def _next_script(self, request: CompletionRequest) -> list[str | Exception]:
        self.requests.append(request)
        return self._scripts[(len(self.requests) - 1) % len(self._scripts)]

    def _chunk(self, piece: str | Exception, *, last: bool) -> CompletionChunk:
        if isinstance(piece, Exception):
            raise piece
        self.chunks_sent += 1
        return CompletionChunk(piece, finish="stop" if last else None)

    @staticmethod
    def _joined(chunks: Sequence[CompletionChunk]) -> Completion:
        return CompletionChunk("".join(chunk.text for chunk in chunks), finish="stop")
