"""Payload: a request as the body that a completions server is sent. Pure.

Batch systems that send requests themselves, such as Ray Data, can use it too, with ``reply_of``
for what comes back.
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

__all__ = ["chat_payload", "completion_payload", "constraint_fields", "group_payload"]


def completion_payload(
    request: CompletionRequest, model: str, dialect: Dialect = GENERIC, *, stream: bool = False
) -> dict[str, Any]:
    """Write the body of ``POST /v1/completions`` for a request.

    ``max_tokens`` and the sampling fields are always there, since servers have other defaults.
    ``repetition_penalty`` is off unless said, where servers count the page's tokens too: that would
    drive the model from the style that the page teaches. It is off for JSON and choices as well,
    which copy what was asked. No begin-of-text is added to the prompt; servers do that.

    Args:
        request: The request; a constraint that the dialect has no fields for is left out.
        model: The model's name on the server.
        dialect: What the server understands.
        stream: Whether the completion is to come piece by piece.
    """
    parameters = request.parameters
    payload: dict[str, Any] = {
        "model": model,
        "prompt": request.prompt,
        "max_tokens": request.max_tokens,
        **_sampling_fields(request, dialect),
        **dialect.always,
    }
    if form := constraint_fields(request, dialect):
        payload |= form  # it ends by itself, and a stop string would end it amid the form
    else:
        payload["stop"] = list(dict.fromkeys(request.stop))[: dialect.max_stops]
    if parameters.logprobs is not None:
        payload["logprobs"] = max(parameters.logprobs, dialect.least_logprobs)
    if stream:
        payload |= {"stream": True, **dialect.streaming}
    return payload


def chat_payload(
    request: ReplyRequest, messages: Sequence[Message], model: str, dialect: Dialect = GENERIC
) -> dict[str, Any]:
    """Write the body of ``POST /v1/chat/completions``, for what takes nothing but chats.

    The server must have the request's prompt as its chat template (``urial template``), and so
    writes the page itself. ``vllm run-batch`` is such a runner.

    Args:
        request: The messages, composed: it tells the stop strings, which no template holds, the
            limit and how to sample.
        messages: The conversation, in text.
        model: The model's name on the server.
        dialect: What the server understands.

    Raises:
        ParameterError: The request has tools, a form of its answer, or is plain text.
    """
    if request.tools or request.response_format or request.format is None:
        raise ParameterError(
            "A chat template writes no page with tools or a form of the answer: send "
            "completion_payload to /v1/completions."
        )
    payload = completion_payload(request, model, dialect)
    del payload["prompt"]
    chat = [{"role": message.role, "content": message.text} for message in messages]
    if request.prefill:
        payload |= {"add_generation_prompt": False, "continue_final_message": True}
    if (most := payload.pop("logprobs", None)) is not None:
        payload |= {"logprobs": True, "top_logprobs": most}
    return {**payload, "messages": chat}


def group_payload(
    requests: Sequence[CompletionRequest], model: str, dialect: Dialect
) -> dict[str, Any]:
    """As ``completion_payload``, for requests that differ in nothing but their prompts."""
    payload = completion_payload(requests[0], model, dialect)
    if len(requests) == 1:
        return payload
    return {**payload, "prompt": [request.prompt for request in requests]}


def constraint_fields(request: CompletionRequest, dialect: Dialect) -> dict[str, Any]:
    """The fields that hold a completion to its form; none where the dialect has none."""
    match request.constraint:
        case Choice() as choice if dialect.choice:
            return dialect.choice(choice)
        case JsonSchema() as schema if dialect.json_schema:
            return dialect.json_schema(schema)
    return {}


def _sampling_fields(request: CompletionRequest, dialect: Dialect) -> dict[str, Any]:
    said = request.parameters
    default_helps = dialect.penalizes_recent and request.constraint is None
    if said.repetition_penalty is None and not default_helps:
        resolved = said.replace(repetition_penalty=1.0).resolved()
    else:
        resolved = said.resolved()
    fields = {
        theirs: value
        for ours, theirs in dialect.sampling.items()
        if (value := getattr(resolved, ours)) is not None
    }
    fields |= {
        theirs: value
        for ours, theirs in dialect.sampling_if_said.items()
        if (value := getattr(said, ours)) is not None
    }
    return fields
