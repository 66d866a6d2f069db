"""Responses: run a request and translate its reply to LlamaIndex's responses.

Each response of a stream holds the whole text so far, and what is new.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, Generic, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

from urial_core import Reply, ReplyEnd, TextDelta, TokenLogprob, ToolCall, ToolCallDelta
from urial_core.call import Call, response_metadata
from urial_core.composing import ReplyRequest
from urial_core.errors import ConversationError
from urial_core.inner_stream import InnerStream

__all__ = ["Responses", "chat_response", "completion_response", "reply_message"]

_Response = TypeVar("_Response", ChatResponse, CompletionResponse)


class Responses(Generic[_Response]):
    """The responses to one request, whole or streamed."""

    def __init__(
        self, call: Call, request: ReplyRequest, response: Callable[..., _Response]
    ) -> None:
        """Send nothing yet.

        Args:
            call: What the request is run with.
            request: The request.
            response: ``chat_response`` or ``completion_response``.
        """
        self._call = call
        self._make: Callable[..., _Response] = response
        self._request = request
        self._text = ""
        self._calls = dict[int, ToolCall]()

    def reply(self) -> _Response:
        """Return the response to the whole reply."""
        return self._whole(self._call.chat.reply([self._request])[0])

    async def areply(self) -> _Response:
        """As ``reply``, without blocking the event loop."""
        return self._whole((await self._call.chat.areply([self._request]))[0])

    def stream(self) -> Generator[_Response]:
        """Yield a response for each event of the reply."""
        with closing(self._call.chat.stream(self._request)) as events:
            for event in events:
                yield self._add(event)

    def astream(self) -> AsyncGenerator[_Response]:
        """As ``stream``, without blocking the event loop."""
        return InnerStream(self._astream())  # LlamaIndex's decorators read it

    async def _astream(self) -> AsyncGenerator[_Response]:
        async with InnerStream(self._call.chat.astream(self._request)) as events:
            async for event in events:
                yield self._add(event)

    def _whole(self, reply: Reply) -> _Response:
        self._text = reply.text
        self._calls = dict(enumerate(reply.tool_calls))
        return self._last(reply.end, None, reply.logprobs)

    def _add(self, event: TextDelta | ToolCallDelta | ReplyEnd) -> _Response:
        match event:
            case TextDelta():
                self._text += event.text
                return self._response(event.text, event.logprobs)
            case ToolCallDelta():
                call = self._calls.get(event.index) or ToolCall(event.name, "", event.id)
                arguments = call.arguments + event.arguments
                self._calls[event.index] = ToolCall(call.name, arguments, call.id)
                return self._response("")
            case ReplyEnd():
                return self._last(event, "")

    def _last(
        self, end: ReplyEnd, delta: str | None, logprobs: Iterable[TokenLogprob] = ()
    ) -> _Response:
        """Return the complete response, with the invalid calls that an agent can report back."""
        known = {call.id: number for number, call in self._calls.items()}
        for call in end.invalid_tool_calls:
            if call.attempt is not None:
                self._calls[known.get(call.id, len(self._calls))] = call.attempt
            elif call.id in known:
                del self._calls[known[call.id]]
        return self._response(delta, logprobs, _raw(end, self._request, self._call.model_name))

    def _response(
        self,
        delta: str | None,
        logprobs: Iterable[TokenLogprob] = (),
        raw: dict[str, Any] | None = None,
    ) -> _Response:
        calls = [*self._calls.values()]
        return self._make(self._text, calls, delta=delta, logprobs=_logprobs(logprobs), raw=raw)


def chat_response(text: str, calls: Sequence[ToolCall], **fields: Any) -> ChatResponse:
    """Make the response to messages of the text and calls so far."""
    return ChatResponse(message=reply_message(text, calls), **fields)


def completion_response(text: str, _: Sequence[ToolCall], **fields: Any) -> CompletionResponse:
    """Make the response to a prompt of the text so far."""
    return CompletionResponse(text=text, **fields)


def reply_message(text: str, calls: Sequence[ToolCall] = ()) -> ChatMessage:
    """Make the assistant's message, or what there is of it so far.

    It holds calls twice, as blocks and in ``additional_kwargs``: LlamaIndex's agents read the
    former, its streamed programs the latter.
    """
    blocks: list[ContentBlock] = [TextBlock(text=text)] if text or not calls else []
    blocks += [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=_arguments(call))
        for call in calls
    ]
    written = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=blocks,
        additional_kwargs={"tool_calls": written} if written else {},
    )


def _arguments(call: ToolCall) -> dict[str, Any] | str:
    """Return the arguments as a dictionary, once they are complete."""
    try:
        return call.values
    except ConversationError:
        return call.arguments


def _raw(end: ReplyEnd, request: ReplyRequest, model_name: str) -> dict[str, Any]:
    """Describe a whole reply under the OpenAI API's names, which LlamaIndex looks for."""
    raw: dict[str, Any] = {"model": model_name, **response_metadata(end, request)}
    if end.usage is not None:
        raw["usage"] = {
            "prompt_tokens": end.usage.input_tokens,
            "completion_tokens": end.usage.output_tokens,
            "total_tokens": end.usage.input_tokens + end.usage.output_tokens,
        }
        if end.usage.cached_tokens is not None:
            raw["usage"]["prompt_tokens_details"] = {"cached_tokens": end.usage.cached_tokens}
    return raw


def _logprobs(logprobs: Iterable[TokenLogprob]) -> list[list[LogProb]] | None:
    """Translate log-probabilities: for each token its own first, then the alternatives."""
    found = [
        [
            LogProb(token=token, logprob=value, bytes=list(token.encode()))
            for token, value in ((item.token, item.logprob), *item.top)
        ]
        for item in logprobs
    ]
    return found or None
