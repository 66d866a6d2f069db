"""Responses: LlamaIndex's answers, whole or as they grow.

Each item of a stream holds all that was said so far, and what is new.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

from llamaindex_urial.translation import logprobs_of, raw_of, reply_message
from urial_core import Reply, ReplyEnd, TextDelta, ToolCall, ToolCallDelta
from urial_core.completion import TokenLogprob
from urial_core.composing import ReplyRequest

__all__ = ["ChatResponses", "CompletionResponses"]

_Response = TypeVar("_Response", ChatResponse, CompletionResponse)


class _Responses(Generic[_Response]):
    """Makes responses of a reply's events. Pure: the caller moves the events, sync or async."""

    def __init__(self, request: ReplyRequest, model_name: str) -> None:
        self._request = request
        self._model_name = model_name
        self._text = ""
        self._calls = dict[int, ToolCall]()

    def add(self, event: TextDelta | ToolCallDelta | ReplyEnd) -> _Response:
        """The response as far as this event; the end's is complete and holds ``raw``."""
        match event:
            case TextDelta():
                self._text += event.text
                return self._response(event.text, event.logprobs)
            case ToolCallDelta():
                begun = self._calls.get(event.index) or ToolCall(event.name, "", event.id)
                self._calls[event.index] = ToolCall(
                    begun.name, begun.arguments + event.arguments, begun.id
                )
                return self._response("")
        self._attempts(event)
        return self._response("", end=event)

    def whole(self, reply: Reply) -> _Response:
        """The response to a whole reply."""
        self._text = reply.text
        self._calls = dict(enumerate(reply.tool_calls))
        self._attempts(reply.end)
        return self._response(None, reply.logprobs, reply.end)

    def _attempts(self, end: ReplyEnd) -> None:
        """Add the calls that cannot be made and that an agent can tell the model about."""
        known = {call.id: number for number, call in self._calls.items()}
        for call in end.invalid_tool_calls:
            if call.attempt is not None:
                self._calls[known.get(call.id, len(self._calls))] = call.attempt

    @abstractmethod
    def _response(
        self,
        delta: str | None,
        logprobs: tuple[TokenLogprob, ...] = (),
        end: ReplyEnd | None = None,
    ) -> _Response:
        """Make the response as things stand."""


class ChatResponses(_Responses[ChatResponse]):
    """Responses to messages."""

    def _response(
        self,
        delta: str | None,
        logprobs: tuple[TokenLogprob, ...] = (),
        end: ReplyEnd | None = None,
    ) -> ChatResponse:
        return ChatResponse(
            message=reply_message(self._text, list(self._calls.values())),
            delta=delta,
            logprobs=logprobs_of(logprobs),
            raw=raw_of(end, self._request, self._model_name) if end else None,
        )


class CompletionResponses(_Responses[CompletionResponse]):
    """Responses to a prompt."""

    def _response(
        self,
        delta: str | None,
        logprobs: tuple[TokenLogprob, ...] = (),
        end: ReplyEnd | None = None,
    ) -> CompletionResponse:
        return CompletionResponse(
            text=self._text,
            delta=delta,
            logprobs=logprobs_of(logprobs),
            raw=raw_of(end, self._request, self._model_name) if end else None,
        )
