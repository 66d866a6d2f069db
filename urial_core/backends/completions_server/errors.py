"""Errors: the SDK's errors as this project's, each saying what to do."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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

__all__ = ["SDK_ERRORS", "is_no_answer", "translated", "without_secrets"]

SDK_ERRORS = (
    *(openai.OpenAIError, httpx.HTTPError, httpx.StreamError, httpx.InvalidURL),
    *(ValueError, TypeError, RecursionError),
)
"""What the SDK raises: its own errors, its transport's, and those of bodies and of parsing JSON."""

_LONGEST_MESSAGE = 2000
"""Characters that are read of a server's message."""

_OVERFLOW_TYPES = ("exceed_context_size_error", "context_length_exceeded")
_WINDOW = re.compile(r"context length (?:is|of) (?:only )?(\d{1,18})")
_PROMPT_TOKENS = re.compile(r"\b(\d{1,18}) (?:input|prompt) tokens|\((\d{1,18}) in (?:the|your) ")
_CONSTRAINT_FIELDS = ("structured_outputs", "json_schema", "grammar")


def is_no_answer(error: Exception, statuses: Collection[int]) -> bool:
    """Return whether an error has one of the statuses, or comes of a response that is no JSON.

    One that says that a prompt is too long is an answer.
    """
    if isinstance(error, openai.APIStatusError):
        return error.status_code in statuses and not _WINDOW.search(error.message)
    return isinstance(error, (ValueError, RecursionError))


def translated(
    error: Exception,
    url: str,
    secret: str | None,
    body: Mapping[str, Any],
    *,
    text: str | None,
    proxy: str | None,
) -> UrialError:
    """Return this project's error for one of ``SDK_ERRORS``.

    Args:
        error: The SDK's error.
        url: The API's base URL.
        secret: The API key, which no message may show.
        body: The body that was sent.
        text: The text so far, if the error came in the middle of a stream.
        proxy: The environment variable whose proxy is used.
    """
    if isinstance(error.__cause__, httpx.DecodingError):  # the SDK's error is of a connection
        error = error.__cause__
    reason = _hidden(str(error), secret)[:_LONGEST_MESSAGE]
    if text is not None:
        timed_out = isinstance(error, httpx.TimeoutException)
        problem = "sent nothing more in time" if timed_out else "broke off"
        reason = reason or type(error).__name__
        return GenerationError(
            f"The server at {url} {problem} in the middle of the reply ({reason}). "
            "The text so far is in this error's `text`. Send the request again; if it fails again, "
            "read the server's log.",
            text,
        )
    match error:
        case UnicodeEncodeError():
            return ConversationError(
                f"The request has the lone surrogate {error.object[error.start : error.end]!r}, "
                "which cannot be sent as UTF-8. Remove it from the messages and arguments."
            )
        case openai.APITimeoutError():
            return ServerUnreachableError(
                f"The server at {url} did not answer in time. It may be overloaded: raise "
                "timeout=, lower max_tokens, or send it fewer requests at once."
            )
        case openai.APIConnectionError():
            by_proxy = f" by the proxy of {proxy}" if proxy else ""
            return ServerUnreachableError(
                f"There is no connection to {url}{by_proxy}: "
                f"{_hidden(str(error.__cause__ or error), secret)}. Is the server running, and is "
                f"{f'{proxy} or ' if proxy else ''}base_url right?"
            )
        case openai.APIStatusError():
            return _status_error(error, url, secret, body)
        case openai.APIError():
            return GenerationError(f"The server at {url} failed: {reason}")
    return ServerError(
        f"The response of {url} cannot be parsed ({type(error).__name__}: {reason}). Is base_url "
        "that of an OpenAI-style completions API?"
    )


def _status_error(
    error: openai.APIStatusError, url: str, secret: str | None, body: Mapping[str, Any]
) -> UrialError:
    details = error.body if isinstance(error.body, Mapping) else {}
    message = str(details.get("message") or error.message)[:_LONGEST_MESSAGE]
    message = _hidden(message, secret).rstrip(".")
    status = error.status_code
    if status == 400 and (overflow := _overflow(details, message, body)):
        return overflow
    if status in (400, 422) and any(field in body for field in _CONSTRAINT_FIELDS):
        return UnsupportedSchemaError(
            f"The server at {url} cannot constrain its output to this schema: {message}. Simplify "
            "the schema."
        )
    advice = {
        401: "Pass the server's key as api_key=.",
        403: "Pass a key that is allowed to do this as api_key=.",
        404: "Check model= and base_url (it usually ends in /v1).",
        429: "It is busy or limits your rate: wait, or raise max_retries=.",
    }.get(status, "Read the server's log." if status >= 500 else "")
    text = f"The server at {url} answered {status}: {message}. {advice}"
    return ServerError(text.strip(), status)


def _overflow(
    details: Mapping[str, Any], message: str, body: Mapping[str, Any]
) -> ContextOverflowError | None:
    """Return the context overflow that a server reports, if the error is one."""
    window, prompt = _WINDOW.search(message), _PROMPT_TOKENS.search(message)
    typed = details.get("type") in _OVERFLOW_TYPES or details.get("code") in _OVERFLOW_TYPES
    if not typed and not (window and (prompt or details.get("param") == "input_tokens")):
        return None
    return ContextOverflowError(
        _number(details.get("n_ctx"), window),
        _number(details.get("n_prompt_tokens"), prompt),
        body.get("max_tokens", 0),
        (),
    )


def _number(given: object, found: re.Match[str] | None) -> int:
    """Return a number of tokens: the one given, or the one found in a message; else 0."""
    if isinstance(given, int):
        return given
    return int(next(group for group in found.groups() if group)) if found else 0


def _hidden(text: str, secret: str | None) -> str:
    return text.replace(secret, "***") if secret else text


def without_secrets(error: BaseException, secret: str | None) -> BaseException:
    """Return an error that a traceback may show, with all that it was raised from.

    A server's message may repeat the key; so may the HTTP client's about a header.
    """
    seen = set[int]()
    part: BaseException | None = error
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        if secret and secret in repr(part.args) + str(part) + repr(vars(part)):
            part.args = (_hidden(str(part), secret),)
            for name in ("message", "body"):
                if hasattr(part, name):
                    setattr(part, name, _hidden(str(getattr(part, name)), secret))
        part = part.__cause__ or part.__context__
    return error
