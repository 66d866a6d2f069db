"""A base for models that complete one page at a time, and block while they do."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import Executor
from contextlib import closing

from urial_core.backends.in_thread import aiterate_in_thread, iterate_in_thread
from urial_core.completion import Completion, CompletionChunk, CompletionRequest, Tokenizer

__all__ = ["OneByOneModel", "joined"]


class OneByOneModel(ABC):
    """Makes a whole ``CompletionModel`` of a way to complete one page.

    A subclass says how one page is completed, blocking; where its engine is async too, it says so
    in ``acomplete_one`` and ``astream_one`` and sets ``is_async``.

    Attributes:
        worker: The one thread for calls that must not overlap; None where they may.
        is_async: Whether the async ways are the engine's own.
    """

    worker: Executor | None = None
    is_async: bool = False

    @abstractmethod
    def complete_one(self, request: CompletionRequest) -> Completion:
        """Complete a page, blocking."""

    @abstractmethod
    def stream_one(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece, blocking."""

    @property
    def known_context_window(self) -> int | None:
        """The context window, if it is known without loading or asking anything."""
        return None

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's own tokenizer, if it is available."""
        return None

    async def acomplete_one(self, request: CompletionRequest) -> Completion:
        """As ``complete_one``; for engines that are async."""
        raise NotImplementedError

    def astream_one(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream_one``; for engines that are async."""
        raise NotImplementedError

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete pages, one after the other."""
        if self.worker is None:
            return [self.complete_one(request) for request in requests]
        return list(self.worker.map(self.complete_one, requests))

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete pages, side by side where calls may overlap."""
        if self.is_async:
            return list(await asyncio.gather(*map(self.acomplete_one, requests)))
        loop = asyncio.get_running_loop()
        jobs = (
            loop.run_in_executor(self.worker, self.complete_one, request) for request in requests
        )
        return list(await asyncio.gather(*jobs))

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a page piece by piece."""
        if self.worker is None:
            return self.stream_one(request)
        return iterate_in_thread(self.worker, lambda: self.stream_one(request))

    def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""
        if self.is_async:
            return self.astream_one(request)
        return aiterate_in_thread(self.worker, lambda: self.stream_one(request))


def joined(chunks: Generator[CompletionChunk]) -> Completion:
    """Put a stream's pieces together."""
    with closing(chunks):
        pieces = list(chunks)
    return CompletionChunk(
        text="".join(piece.text for piece in pieces),
        finish=next((piece.finish for piece in reversed(pieces) if piece.finish), None),
        usage=next((piece.usage for piece in reversed(pieces) if piece.usage), None),
        logprobs=tuple(logprob for piece in pieces for logprob in piece.logprobs),
    )
