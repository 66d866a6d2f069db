"""Failures: the SDK's errors as this project's, each saying what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
import openai

from urial_core.errors import (
    ContextOverflowError,
    ConversationError,
    GenerationError,
    ServerError,
    ServerUnreachableError,
    UnsupportedSchemaError,
    UrialError,
)

__all__ = ["ABSENT", "FAILURES", "failure", "failure_amid_reply"]

FAILURES = (openai.OpenAIError, httpx.HTTPError, httpx.StreamError, ValueError)
"""What the SDK lets through: its own errors, its transport's, and those of reading JSON."""

ABSENT = (400, 404, 405, 422, 501)
"""Statuses by which a server says that it has no such path."""

_OVERFLOW_TYPES = ("exceed_context_size_error", "context_length_exceeded")
_WINDOW = re.compile(r"context length (?:is|of) (?:only )?(\d+)")
_PROMPT_TOKENS = re.compile(r"(\d+) (?:input|prompt) tokens|\((\d+) in (?:the|your) ")
_CONSTRAINT_FIELDS = ("structured_outputs", "json_schema", "grammar")


def failure(error: Exception, url: str, body: Mapping[str, Any] | None, secret: str) -> UrialError:
    """Translate an error that came before any of a reply.

    Args:
        error: The SDK's error, one of ``FAILURES``.
        url: The API's base URL.
        body: What was sent.
        secret: The key, which no message may show.
    """
    match error:
        case UnicodeEncodeError():
            return ConversationError(
                f"The page holds {error.object[error.start : error.end]!r}, half of a character, "
                "which no server can be sent. Take it out of the messages."
            )
        case openai.APITimeoutError():
            return ServerUnreachableError(
                f"The server at {url} did not answer in time. It may be overloaded: raise "
                "timeout=, lower max_tokens, or have it run fewer requests at once."
            )
        case openai.APIConnectionError():
            return ServerUnreachableError(
                f"There is no connection to {url}: {error.__cause__ or error}. Is the server "
                "running, and is base_url right?"
            )
        case openai.APIStatusError():
            return _refusal(error, url, body or {}, secret)
        case openai.APIError():
            return GenerationError(f"The server at {url} failed: {_hidden(str(error), secret)}")
    return ServerError(
        f"What {url} sent cannot be read ({type(error).__name__}: {_hidden(str(error), secret)}). "
        "Is base_url the one of an OpenAI-style completions API?"
    )


def failure_amid_reply(error: Exception, url: str, text: str, secret: str) -> GenerationError:
    """Translate an error that came in the middle of a stream."""
    what = "sent nothing more in time" if isinstance(error, httpx.TimeoutException) else "broke off"
    said = _hidden(str(error), secret) or type(error).__name__
    return GenerationError(
        f"The server at {url} {what} in the middle of the reply ({said}). The text so far is in "
        "this error's `text`. Ask again; if it happens again, read the server's log.",
        text,
    )


def _refusal(
    error: openai.APIStatusError, url: str, body: Mapping[str, Any], secret: str
) -> UrialError:
    details = error.body if isinstance(error.body, Mapping) else {}
    said = _hidden(str(details.get("message") or error.message), secret).rstrip(".")
    status = error.status_code
    if status == 400 and (overflow := _overflow(details, said, body)):
        return overflow
    if status in (400, 422) and any(field in body for field in _CONSTRAINT_FIELDS):
        return UnsupportedSchemaError(
            f"The server at {url} cannot hold its output to this form: {said}. Simplify the schema."
        )
    advice = {
        401: "Pass the server's key as api_key=.",
        403: "Pass a key that is allowed to do this as api_key=.",
        404: "Check model= and base_url (it usually ends in /v1).",
        429: "It is busy or limits you: wait, or raise max_retries=.",
    }.get(status, "Read the server's log." if status >= 500 else "")
    return ServerError(f"The server at {url} answered {status}: {said}. {advice}".strip(), status)


def _overflow(
    details: Mapping[str, Any], said: str, body: Mapping[str, Any]
) -> ContextOverflowError | None:
    """The overflow that a server reports in its own way, if this is one."""
    window, prompt = _WINDOW.search(said), _PROMPT_TOKENS.search(said)
    typed = details.get("type") in _OVERFLOW_TYPES or details.get("code") in _OVERFLOW_TYPES
    if not typed and not (window and (prompt or details.get("param") == "input_tokens")):
        return None
    return ContextOverflowError(
        details.get("n_ctx") or _number(window),
        details.get("n_prompt_tokens") or _number(prompt),
        body.get("max_tokens", 0),
        (),
    )


def _number(found: re.Match[str] | None) -> int:
    return int(next(group for group in found.groups() if group)) if found else 0


def _hidden(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text
