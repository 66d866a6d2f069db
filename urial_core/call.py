"""Call: everything that one call of a chat model runs with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from urial_core.chat import UrialChat
from urial_core.composing import ReplyRequest
from urial_core.messages import Message
from urial_core.parameters import GenerationParameters
from urial_core.replies import ReplyEnd
from urial_core.structured.constraints import JsonSchema
from urial_core.tools import ToolUse

__all__ = ["Call", "response_metadata"]


@dataclass(frozen=True, slots=True)
class Call:
    """The chat, parameters, tools and response format of one call.

    Attributes:
        chat: The model and its prompt.
        parameters: How to sample. Arguments of the call take precedence over the chat model's
            settings, and those over what was set on the wrapped LLM.
        prefill: Whether a final assistant message is to be continued.
        model_name: The model's name for metadata.
        tools: What the reply may call, and whether it must.
        response_format: The JSON schema that a reply in text must match.
        stop_at_template: Whether a reply ends where it would continue the message's template.
    """

    chat: UrialChat
    parameters: GenerationParameters
    prefill: bool
    model_name: str
    tools: ToolUse | None = None
    response_format: JsonSchema | None = None
    stop_at_template: bool = True

    def request(self, messages: Sequence[Message]) -> ReplyRequest:
        """Compose the request for a conversation."""
        return self.chat.request(
            messages,
            self.parameters,
            prefill=self.prefill,
            tools=self.tools,
            response_format=self.response_format,
            stop_at_template=self.stop_at_template,
        )

    def requests(self, messages: Sequence[Message]) -> list[ReplyRequest]:
        """Compose the ``n`` requests for a conversation: reply *i* uses ``seed + i``."""
        request = self.request(messages)
        own = request.parameters
        seeds = [None if own.seed is None else own.seed + number for number in range(own.n)]
        return [replace(request, parameters=own.replace(n=1, seed=seed)) for seed in seeds]


def response_metadata(end: ReplyEnd, request: ReplyRequest) -> dict[str, Any]:
    """Return what is known about a whole reply, without its tokens and calls.

    ``finish_reason`` and ``end_reason`` are always there; ``stop_sequence``,
    ``truncated_messages`` (how many), ``chosen_examples`` (their questions),
    ``validation_error``, ``invalid_tool_calls``, ``attempts`` (of more than one) and ``decoding``
    (what a strategy did) where they apply.
    """
    invalid = [
        {"id": call.id, "name": call.name, "text": call.text, "error": call.error}
        for call in end.invalid_tool_calls
    ]
    metadata = {
        "finish_reason": end.finish_reason,
        "end_reason": end.reason,
        "stop_sequence": end.stop,
        "truncated_messages": len(request.truncated) or None,
        "chosen_examples": [example.query for example in request.examples] or None,
        "validation_error": end.validation_error or None,
        "invalid_tool_calls": invalid or None,
        "attempts": end.attempts if end.attempts > 1 else None,
        "decoding": dict(end.decoding) if end.decoding else None,
    }
    return {name: value for name, value in metadata.items() if value is not None}
