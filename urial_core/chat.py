"""Chat: the one way from a conversation through a completion model to a reply.

Both adapters run this class, sync and async; they only translate messages and results.

Between a reply's steps, the model is asked to count tokens, for which it may have to ask a server.
So the async methods take each step in another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass

from urial_core.budget import TokenBudget
from urial_core.completion import Completion, CompletionModel
from urial_core.composing import Overflow, ReplyRequest, compose, compose_plain
from urial_core.decoding import (
    Reply,
    ReplyEnd,
    ReplyMaker,
    TextDelta,
    ToolCallDelta,
    start_reply,
)
from urial_core.decoding.call_form import call_schema
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt import Prompt
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_schema import check_schema
from urial_core.tools import ToolUse

__all__ = ["UrialChat"]


@dataclass(frozen=True, slots=True)
class UrialChat:
    """A base model behind a URIAL prompt.

    Attributes:
        model: The model that continues pages.
        prompt: The constant part of every page.
        overflow: What to do with a conversation too long for the window.
        context_window: The model's window, where the model does not know it or is to use less.
    """

    model: CompletionModel
    prompt: Prompt
    overflow: Overflow = "error"
    context_window: int | None = None

    def request(
        self,
        messages: Sequence[Message],
        parameters: GenerationParameters | None = None,
        *,
        prefill: bool = False,
        tools: ToolUse | None = None,
        response_format: JsonSchema | None = None,
    ) -> ReplyRequest:
        """Compose the request for a conversation; see ``urial_core.composing``.

        The model is asked for its window and to count, which may load it or ask a server: within an
        event loop, call this in another thread (``asyncio.to_thread``).

        Raises:
            UnsupportedSchemaError: A schema, of a tool or of the answer, is none, or one that the
                model should hold to and cannot.
        """
        for schema in [tool.parameters for tool in tools.tools] if tools else []:
            check_schema(schema)
        if tools and tools.callable:
            self.model.features.enforces(call_schema(tuple(tools.callable)))
        if response_format is not None:
            check_schema(response_format.text)
            self.model.features.enforces(response_format.with_additional_properties_forbidden())
        return compose(
            self.prompt,
            messages,
            parameters,
            budget=self._budget,
            overflow=self.overflow,
            prefill=prefill,
            tools=tools,
            response_format=response_format,
        )

    def plain_request(
        self, text: str, parameters: GenerationParameters | None = None
    ) -> ReplyRequest:
        """Compose the request that has a text continued as it is, without the page."""
        return compose_plain(text, parameters, budget=self._budget)

    @property
    def _budget(self) -> TokenBudget | None:
        window = self.context_window or self.model.context_window
        return TokenBudget(window, self.model.count_tokens) if window else None

    def stream(self, request: ReplyRequest) -> Generator[TextDelta | ToolCallDelta | ReplyEnd]:
        """Yield the reply's text and calls as they are written, then its end.

        Leaving early stops the model.
        """
        reply = start_reply(self.model, request, live=True)
        while (attempt := reply.next_attempt()) is not None:
            with reply.kept_on_failure(), closing(self.model.stream(attempt)) as chunks:
                for chunk in chunks:
                    yield from reply.feed(chunk)
                    if reply.over:
                        break
        yield from reply.finish()

    async def astream(
        self, request: ReplyRequest
    ) -> AsyncGenerator[TextDelta | ToolCallDelta | ReplyEnd]:
        """As ``stream``, without blocking the event loop."""
        reply = start_reply(self.model, request, live=True)
        while (attempt := await asyncio.to_thread(reply.next_attempt)) is not None:
            with reply.kept_on_failure():
                async with aclosing(self.model.astream(attempt)) as chunks:
                    async for chunk in chunks:
                        for delta in reply.feed(chunk):
                            yield delta
                        if reply.over:
                            break
        for event in reply.finish():
            yield event

    def reply(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """Answer several requests, as one batch where the engine can; in order."""
        replies = [start_reply(self.model, request, live=False) for request in requests]
        while attempts := _attempts(replies):
            completions = self.model.complete([attempt for _, attempt in attempts])
            _feed(attempts, completions)
        return [reply.whole() for reply in replies]

    async def areply(self, requests: Sequence[ReplyRequest]) -> list[Reply]:
        """As ``reply``, without blocking the event loop."""
        replies = [start_reply(self.model, request, live=False) for request in requests]
        while attempts := await asyncio.to_thread(_attempts, replies):
            completions = await self.model.acomplete([attempt for _, attempt in attempts])
            _feed(attempts, completions)
        return [reply.whole() for reply in replies]


def _attempts(replies: Sequence[ReplyMaker]) -> list[tuple[ReplyMaker, ReplyRequest]]:
    found = ((reply, reply.next_attempt()) for reply in replies)
    return [(reply, attempt) for reply, attempt in found if attempt is not None]


def _feed(
    attempts: Sequence[tuple[ReplyMaker, ReplyRequest]], completions: Sequence[Completion]
) -> None:
    for (reply, _), completion in zip(attempts, completions, strict=True):
        reply.feed(completion)
