"""Payloads: the request bodies that a completions server is sent. Pure.

Batch systems that send requests themselves, such as Ray Data, use them together with ``reply_of``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from urial_core.backends.completions_server.dialect import GENERIC, Dialect
from urial_core.completion import CompletionRequest
from urial_core.composing import ReplyRequest
from urial_core.errors import ParameterError
from urial_core.messages import Message
from urial_core.structured.constraints import Choice, JsonSchema

__all__ = ["chat_payload", "completion_payload"]


def completion_payload(
    request: CompletionRequest, model: str, dialect: Dialect = GENERIC, *, stream: bool = False
) -> dict[str, Any]:
    """Return the body of ``POST /v1/completions`` for a request.

    ``max_tokens`` and the sampling fields are always sent, since servers have other defaults.
    ``repetition_penalty`` is off unless set, where servers count the prompt's tokens too: it would
    keep the model from the style that the few-shot examples teach. It is also off for JSON and
    choices, which repeat what the user asked for. The prompt has no begin-of-text token; servers
    add it.

    Args:
        request: The request; a constraint that the dialect has no fields for is left out.
        model: The model's name on the server.
        dialect: Which fields the server understands.
        stream: Whether the completion is to be streamed.
    """
    parameters = request.parameters
    payload: dict[str, Any] = {
        "model": model,
        "prompt": request.prompt,
        "max_tokens": request.max_tokens,
        **_sampling_fields(request, dialect),
        **dialect.always,
    }
    if constraint := _constraint_fields(request, dialect):
        payload |= constraint  # it ends by itself; a stop string could cut it
    else:
        payload["stop"] = list(dict.fromkeys(request.stop))[: dialect.max_stops]
    if parameters.logprobs is not None:
        payload["logprobs"] = max(parameters.logprobs, dialect.min_logprobs)
    if stream:
        payload |= {"stream": True, **dialect.streaming}
    return payload


def chat_payload(
    request: ReplyRequest, messages: Sequence[Message], model: str, dialect: Dialect = GENERIC
) -> dict[str, Any]:
    """Return the body of ``POST /v1/chat/completions``, for runners that take chats only.

    The server needs the request's prompt as its chat template (see ``urial template``) and then
    composes the prompt itself. ``vllm run-batch`` is such a runner.

    Args:
        request: The composed messages, for the stop strings, which no template has, the length
            limit and the sampling parameters.
        messages: The conversation, in text.
        model: The model's name on the server.
        dialect: Which fields the server understands.

    Raises:
        ParameterError: The request has tools or a response format, or is plain text.
    """
    if request.tools or request.response_format or request.format is None:
        raise ParameterError(
            "The request has tools or a response format, or is plain text, which a chat template "
            "cannot write: send completion_payload to /v1/completions."
        )
    payload = completion_payload(request, model, dialect)
    del payload["prompt"]
    chat = [{"role": message.role, "content": message.text} for message in messages]
    if request.prefill:
        payload |= {"add_generation_prompt": False, "continue_final_message": True}
    if (alternatives := payload.pop("logprobs", None)) is not None:
        payload |= {"logprobs": True, "top_logprobs": alternatives}
    return {**payload, "messages": chat}


def _constraint_fields(request: CompletionRequest, dialect: Dialect) -> dict[str, Any]:
    """Return the fields that constrain a completion; none where the dialect has none."""
    match request.constraint:
        case Choice() as choice if dialect.choice:
            return dialect.choice(choice)
        case JsonSchema() as schema if dialect.json_schema:
            return dialect.json_schema(schema)
    return {}


def _sampling_fields(request: CompletionRequest, dialect: Dialect) -> dict[str, Any]:
    parameters = request.parameters
    resolved = parameters.resolved()
    default_improves = dialect.penalizes_recent_only and request.constraint is None
    if parameters.repetition_penalty is None and not default_improves:
        resolved = resolved.replace(repetition_penalty=1.0)
    return {
        **resolved.under_names(dialect.sampling),
        **parameters.under_names(dialect.optional_sampling),
    }
