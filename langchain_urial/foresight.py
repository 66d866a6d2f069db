"""Foresight: answer all conversations of one ``generate`` when the first is asked about.

LangChain's ``generate`` takes many conversations and asks the model about one after the other. What
it will ask is known from the start, so the first question has all of them answered as one batch.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from langchain_core.messages import BaseMessage

from urial_core import Reply
from urial_core.composing import ReplyRequest
from urial_core.errors import UrialError

__all__ = ["aanswer_ahead", "answer_ahead", "foreseeing"]

_Compose = Callable[[Sequence[BaseMessage]], list[ReplyRequest]]


class _Foresight:
    """The conversations to come, and the replies to them once there are any."""

    def __init__(self, conversations: Sequence[Sequence[BaseMessage]]) -> None:
        self.answered = False
        self.turn = asyncio.Lock()
        self._conversations = conversations
        self._replies = defaultdict[ReplyRequest, deque[Reply]](deque)

    def requests(self, compose: _Compose) -> list[ReplyRequest]:
        """All requests to come; a conversation that cannot be asked about fails in its own turn."""
        requests = list[ReplyRequest]()
        for conversation in self._conversations:
            with suppress(UrialError):
                requests += compose(conversation)
        return requests

    def keep(self, requests: Sequence[ReplyRequest], replies: Sequence[Reply]) -> None:
        """Keep the replies for when they are asked for."""
        for request, reply in zip(requests, replies, strict=True):
            self._replies[request].append(reply)

    def take(self, requests: Sequence[ReplyRequest]) -> list[Reply] | None:
        """Give out the replies to these requests; None if they were not foreseen."""
        counts = Counter(requests)
        if any(len(self._replies[request]) < count for request, count in counts.items()):
            return None
        return [self._replies[request].popleft() for request in requests]


_foresight: ContextVar[_Foresight | None] = ContextVar("foresight", default=None)


@contextmanager
def foreseeing(conversations: Sequence[Sequence[BaseMessage]]) -> Generator[None]:
    """Within it, all of these conversations will be asked about."""
    token = _foresight.set(_Foresight(conversations) if len(conversations) > 1 else None)
    try:
        yield
    finally:
        _foresight.reset(token)


def answer_ahead(
    requests: Sequence[ReplyRequest],
    compose: _Compose,
    work: Callable[[Sequence[ReplyRequest]], list[Reply]],
) -> list[Reply]:
    """Answer requests, and with the first ones all that are foreseen.

    Args:
        requests: What is asked now.
        compose: Makes the requests for a conversation.
        work: Answers requests as one batch.
    """
    foresight = _foresight.get()
    if foresight is None:
        return work(requests)
    if not foresight.answered:
        foresight.answered = True  # also when that fails: then each is asked about by itself
        coming = foresight.requests(compose)
        foresight.keep(coming, work(coming))
    return foresight.take(requests) or work(requests)


async def aanswer_ahead(
    requests: Sequence[ReplyRequest],
    compose: _Compose,
    work: Callable[[Sequence[ReplyRequest]], Awaitable[list[Reply]]],
) -> list[Reply]:
    """As ``answer_ahead``; those that ask meanwhile wait."""
    foresight = _foresight.get()
    if foresight is None:
        return await work(requests)
    async with foresight.turn:
        if not foresight.answered:
            foresight.answered = True
            coming = await asyncio.to_thread(foresight.requests, compose)
            foresight.keep(coming, await work(coming))
    return foresight.take(requests) or await work(requests)
