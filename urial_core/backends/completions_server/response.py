"""Responses: what a server sends back, as completions, as a reply, or as the chunks of a stream.

All of it is pure. Two shapes of log-probabilities and three of usage are understood in each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from urial_core.backends.completions_server.payload import GENERIC, Dialect
from urial_core.backends.completions_server.shape import checked
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    TokenLogprob,
    Usage,
)
from urial_core.composing import ReplyRequest
from urial_core.decoding.text_reply import decode_completion
from urial_core.decoding.token_spans import TokenSpans
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.errors import ConversationError, GenerationError, ServerError, shown
from urial_core.replies import Reply, ReplyEnd
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_closing import rest_of
from urial_core.structured.json_scanner import JsonValue, OneLineJson
from urial_core.structured.json_validation import validate_json

__all__ = ["StreamReader", "completion_of", "completions_of", "reply_of", "usage_of"]

_LIMITS = re.compile(r"length|limit|max[_ -]|(?-i:max[A-Z])|window_exceeded", re.IGNORECASE)
"""What a finish reason holds if ``max_tokens`` or the window's end was reached: ``model_length``,
``time_limit``."""
_FAILURES = re.compile(
    r"(?<![a-z])(?:abort|blocked|blocklist|cancel|error|fail|content_?filter|interrupt|prohibit"
    r"|recitation|resource|safety|time_?d?_?out|model_?unload)",
    re.IGNORECASE,
)
"""What one holds if the server gave up: ``content_filter``, ``timeout``, ``ERROR``. All others are
natural ends: ``stop``, ``eos_token``, ``end_turn``."""
_UNFINISHED = frozenset({"", "null", "none", "not_finished"})


def completion_of(
    response: Any, request: CompletionRequest, dialect: Dialect = GENERIC
) -> Completion:
    """Return the completion in the response to a request.

    Args:
        response: The response's JSON, as Python objects.
        request: The request.
        dialect: The dialect of its payload.

    Raises:
        GenerationError: The server gave up, or this is not a completion.
    """
    return completions_of(response, [request], dialect)[0]


def completions_of(
    response: Any, requests: Sequence[CompletionRequest], dialect: Dialect = GENERIC
) -> list[Completion]:
    """Return the completions in the response to a list of prompts, in the order of the requests.

    Servers report one sum as usage: with several prompts, the usage of each is unknown.
    """
    response = checked(response)
    choices = response.get("choices") or []
    if len(choices) != len(requests):
        raise GenerationError(
            f"The server's response to {len(requests)} prompts has no list of as many choices: "
            f"{shown(response)}. Is base_url that of an OpenAI-style completions API?"
        )
    in_order = sorted(choices, key=lambda choice: choice.get("index") or 0)
    usage = usage_of(response) if len(requests) == 1 else None
    completions = []
    for choice, request in zip(in_order, requests, strict=True):
        reader = StreamReader(request, dialect)
        at_limit = usage is not None and usage.output_tokens == request.max_tokens
        reason = choice.get("finish_reason") or ("length" if at_limit else "stop")
        ended = {**choice, "finish_reason": reason}
        reader.feed({**response, "choices": [ended]})
        completions.append(replace(reader.close(), usage=usage))
    return completions


def reply_of(response: Any, request: ReplyRequest, dialect: Dialect = GENERIC) -> Reply:
    """Return the reply in a server's response, for those who send requests themselves.

    Ray Data and ``vllm run-batch`` do. One response makes one reply: an empty or invalid reply is
    not retried.

    Args:
        response: The JSON of a completion's or a chat's response, as Python objects. Members that
            are None count as absent, since tables of rows fill them in.
        request: The request whose payload was sent.
        dialect: The dialect of the payload.

    Returns:
        The reply: its text up to its end, why it ended, and the server's usage. With
        ``request.response_format``, the text is JSON that matches the schema.

    Raises:
        ServerError: The server refused the request, or failed.
        GenerationError: The server gave up, this is not a response, or the text does not match the
            response format; the text is in the error's ``text``.
        ConversationError: The request has tools. Such replies take several requests:
            ``urial_core.UrialChat`` sends them.
    """
    if request.tools and request.tools.callable and not request.prefill:
        raise ConversationError(
            "A reply that may call tools takes several requests, and this is the response to one: "
            "use ChatUrial, UrialLLM or UrialChat, which send them."
        )
    if not isinstance(response, Mapping):
        raise GenerationError(
            f"The server's response is {shown(response)} instead of a JSON object."
        )
    response = checked({name: part for name, part in response.items() if part is not None})
    _raise_refusal(response)
    completion = completion_of(response, request, dialect)
    if request.response_format is None:
        return decode_completion(request, completion)
    assert request.format is not None  # noqa: S101 - plain texts have no response format
    turn, value, tokens = TurnDecoder(request.format, request.prefill), JsonValue(), TokenSpans()
    written = completion.text.removesuffix(completion.closing)
    tokens.feed(written, completion.logprobs)
    value.feed(request.prefill + turn.feed(written) + turn.flush())
    text, invalid = validate_json(
        value.text.strip(), request.response_format.text, repair=not request.prefill
    )
    cut = completion.finish == "length"
    if not value.complete and (invalid or cut):
        reason = "It was cut at max_tokens: raise it." if cut else invalid
        raise GenerationError(f"The reply is not complete JSON. {reason}", text)
    if invalid:
        raise GenerationError(f"The reply does not match its schema: {invalid}.", text)
    end = ReplyEnd("end_of_text", usage=completion.usage)
    prefilled = request.prefill.lstrip()
    logprobs = tokens.take(value.text.removeprefix(prefilled))
    return Reply(text.removeprefix(prefilled), end, logprobs)


class StreamReader:
    """Turns the events of a stream into chunks.

    The last chunk is kept back until the stream ends, since usage may follow it.

    Attributes:
        text: All text so far.
    """

    def __init__(self, request: CompletionRequest, dialect: Dialect = GENERIC) -> None:
        self.text = ""
        self._alternatives = request.parameters.logprobs or 0
        constraint = request.constraint if dialect.json_schema is not None else None
        self._schema = constraint if isinstance(constraint, JsonSchema) else None
        self._json = OneLineJson() if self._schema else None
        self._index: int | None = None
        self._last: CompletionChunk | None = None
        self._usage: Usage | None = None

    def feed(self, event: Any) -> CompletionChunk | None:
        """Take an event; return its chunk, if it has one and is not the last.

        Raises:
            GenerationError: The server gave up.
        """
        event = checked(event, self.text)
        if reported := _error_of(event):
            _, reason = reported
            raise GenerationError(
                f"The server failed in the middle of the reply: {reason}", self.text
            )
        self._usage = usage_of(event) or self._usage
        choice = self._own_choice(event)
        if choice is None:
            return None
        reason = choice.get("finish_reason") or ""
        reason = "" if reason.lower() in _UNFINISHED else reason
        at_limit = bool(_LIMITS.search(reason))
        text = _text_of(choice) + _stop_string_of(event)
        if at_limit:
            text = text.rstrip("\ufffd")  # of a character that was cut in its middle
        if reason and self._last is not None and text == self._last.text:
            return None  # the end, once more
        if self._json is not None:
            text = self._json.feed(text)
        self.text += text
        if _FAILURES.search(reason) and not at_limit:
            raise GenerationError(
                f"The server ended the reply with finish_reason {reason!r}: read its log.",
                self.text,
            )
        chunk = CompletionChunk(
            text,
            finish="length" if at_limit else "stop" if reason else None,
            usage=self._usage,
            logprobs=_logprobs_of(choice.get("logprobs"), self._alternatives),
        )
        if (last := self._last) is not None:  # the stream ended before: that reason stays
            chunk = replace(
                chunk,
                text=last.text + chunk.text,
                finish=last.finish,
                logprobs=last.logprobs + chunk.logprobs,
            )
        if chunk.finish is None:
            return chunk
        self._last = chunk
        return None

    def close(self, *, done: bool = False) -> CompletionChunk:
        """Return the last chunk, now that the stream has ended.

        Args:
            done: Whether the server marked the end (``[DONE]``).

        Raises:
            GenerationError: The stream was cut: nothing marked this as its end.
        """
        if self._last is not None:
            cut = self._last.finish == "length"
            rest = rest_of(self.text, self._schema) if self._schema and cut else ""
            last = replace(self._last, text=self._last.text + rest, closing=rest)
            return replace(last, usage=self._usage)
        if done:
            return CompletionChunk("", finish="stop", usage=self._usage)
        raise GenerationError(
            "The connection to the server ended in the middle of the reply. The text so far is in "
            "this error's `text`. Send the request again; if it fails again, read the server's "
            "log.",
            self.text,
        )

    def _own_choice(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the event's part of this completion; other samples have another index."""
        for choice in event.get("choices") or ():
            index = choice.get("index") or 0
            self._index = index if self._index is None else self._index
            if index == self._index:
                found: Mapping[str, Any] = choice
                return found
        return None


def usage_of(event: Mapping[str, Any]) -> Usage | None:
    """Return the token counts in a response or a stream's event, if it has any."""
    if usage := event.get("usage"):
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        return Usage.of(usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    if timings := event.get("timings"):  # llama.cpp, before the last event
        cached, read = timings.get("cache_n"), timings.get("prompt_n")
        prompt = read + (cached or 0) if isinstance(read, int) else None
        return Usage.of(prompt, timings.get("predicted_n"), cached)
    return None


def _text_of(choice: Mapping[str, Any]) -> str:
    """Return the text of a completion's choice, or of a chat's, as a whole or a piece."""
    message = choice.get("message") or choice.get("delta") or {}
    return message.get("content") or choice.get("text") or ""


def _stop_string_of(event: Mapping[str, Any]) -> str:
    """Return the stop string that llama.cpp left out: the decoder recognizes the end by it."""
    verbose = event.get("__verbose") or {}
    return str(verbose.get("stopping_word") or "") if verbose.get("stop_type") == "word" else ""


def _logprobs_of(given: Mapping[str, Any] | None, alternatives: int) -> tuple[TokenLogprob, ...]:
    """Return the tokens' log-probabilities, each with its most probable alternatives.

    Servers add the token itself to these, or send more than were asked for.
    """
    if not given:
        return ()
    if given.get("content") is not None:  # the shape of the chat API
        pair = itemgetter("token", "logprob")
        tokens = [
            (*pair(item), list(map(pair, item.get("top_logprobs") or ())))
            for item in given["content"]
            if item["logprob"] is not None
        ]
    else:
        names, values = given.get("tokens") or (), given.get("token_logprobs") or ()
        tops = given.get("top_logprobs") or [None] * len(names)
        tokens = [
            (name, value, list((top or {}).items()))
            for name, value, top in zip(names, values, tops, strict=False)
        ]
    return tuple(
        TokenLogprob(name, value, _best(top, alternatives))
        for name, value, top in tokens
        if value is not None
    )


def _best(top: list[tuple[str, float | None]], count: int) -> tuple[tuple[str, float], ...]:
    """Return the most probable of some tokens, without those that the server knows nothing of."""
    known = [(token, value) for token, value in top if value is not None]
    return tuple(sorted(known, key=lambda pair: -pair[1])[:count])


def _raise_refusal(response: Mapping[str, Any]) -> None:
    """Raise what servers send in place of choices: an error, in one of two shapes."""
    if not (reported := _error_of(response)):
        return
    status, reason = reported
    answered = f"answered {status}" if status else "refused the request"
    raise ServerError(f"The server {answered}: {reason}", status)


def _error_of(event: Mapping[str, Any]) -> tuple[int | None, str] | None:
    """Return the status and the message of an error that came in place of choices."""
    if event.get("choices"):
        return None
    is_error = "error" in (event.get("object"), event.get("type"))
    error = event.get("error") or (event if is_error else event.get("detail"))
    if not error:
        return None
    details = error if isinstance(error, Mapping) else {"message": error}
    code = str(details.get("code"))
    message = str(details.get("message") or shown(error))
    return int(code) if code.isdecimal() else None, message
