"""Answer: what a completions server sends back, as completions. Pure.

Two shapes of log-probabilities and three of usage are read, whichever comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from urial_core.backends.completions_server.dialect import GENERIC, Dialect
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    TokenLogprob,
    Usage,
)
from urial_core.errors import GenerationError
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_closing import rest_of
from urial_core.structured.json_scanner import OneLineJson

__all__ = ["StreamReader", "completion_of", "completions_of", "usage_of"]

_BROKEN_OFF = ("abort", "error")


def completion_of(
    response: Any, request: CompletionRequest, dialect: Dialect = GENERIC
) -> Completion:
    """Read the response to a request's payload.

    Args:
        response: The body that came back, as Python objects.
        request: The request.
        dialect: That of the payload.

    Raises:
        GenerationError: The server broke off, or this is no completion.
    """
    return completions_of(response, [request], dialect)[0]


def completions_of(
    response: Any, requests: Sequence[CompletionRequest], dialect: Dialect = GENERIC
) -> list[Completion]:
    """As ``completion_of``, for a payload with a list of prompts; in their order.

    A server's usage is one sum, so with several prompts that of each is unknown.
    """
    choices = response.get("choices") if isinstance(response, Mapping) else None
    if (
        not isinstance(choices, Sequence)
        or len(choices) != len(requests)
        or not all(isinstance(choice, Mapping) for choice in choices)
    ):
        raise GenerationError(
            f"The server's answer to {len(requests)} prompts has no list of as many choices: "
            f"{str(response)[:200]!r}. Is base_url the one of an OpenAI-style completions API?"
        )
    in_order = sorted(choices, key=lambda choice: choice.get("index", 0))
    usage = usage_of(response) if len(requests) == 1 else None
    completions = []
    for choice, request in zip(in_order, requests, strict=True):
        reader = StreamReader(request, dialect)
        ended = {**choice, "finish_reason": choice.get("finish_reason") or "stop"}
        reader.feed({**response, "choices": [ended]})
        completions.append(replace(reader.close(), usage=usage))
    return completions


class StreamReader:
    """Turns a stream's events into chunks.

    The last piece of text is kept until the stream is over, since usage may come behind it.

    Attributes:
        text: All text so far.
    """

    def __init__(self, request: CompletionRequest, dialect: Dialect = GENERIC) -> None:
        self.text = ""
        self._most_alternatives = request.parameters.logprobs or 0
        held = request.constraint if dialect.json_schema is not None else None
        self._schema = held if isinstance(held, JsonSchema) else None
        self._json = OneLineJson() if self._schema else None
        self._last: CompletionChunk | None = None
        self._usage: Usage | None = None

    def feed(self, event: Any) -> CompletionChunk | None:
        """Take an event; return the chunk it completes, if any.

        Raises:
            GenerationError: The server says that it broke off.
        """
        if not isinstance(event, Mapping):
            raise GenerationError(f"The server sent {event!r} in a stream of objects.", self.text)
        self._usage = usage_of(event) or self._usage
        if not event.get("choices"):
            return None
        choice = event["choices"][0]
        finish = choice.get("finish_reason")
        if finish in _BROKEN_OFF:
            raise GenerationError(f"The server broke off: its reason is {finish!r}.", self.text)
        text = (choice.get("text") or "") + _stop_met(event)
        if self._json is not None:
            text = self._json.feed(text)
        self.text += text
        chunk = CompletionChunk(
            text,
            finish=None if finish is None else "length" if finish == "length" else "stop",
            usage=self._usage,
            logprobs=_logprobs(choice.get("logprobs"), self._most_alternatives),
        )
        if finish is None:
            return chunk
        self._last = chunk
        return None

    def close(self, *, said_done: bool = False) -> CompletionChunk:
        """The stream is over: return its last chunk.

        Args:
            said_done: Whether the server itself said so (``[DONE]``).

        Raises:
            GenerationError: The stream was cut: nothing said that this is the end.
        """
        if self._last is not None:
            return replace(self._last, text=self._last.text + self._rest(), usage=self._usage)
        if said_done:
            return CompletionChunk("", finish="stop", usage=self._usage)
        raise GenerationError(
            "The connection to the server ended in the middle of the reply. The text so far is in "
            "this error's `text`. Ask again; if it happens again, read the server's log.",
            self.text,
        )

    def _rest(self) -> str:
        """What makes JSON whole that ``max_tokens`` cut."""
        cut = self._last is not None and self._last.finish == "length"
        return rest_of(self.text, self._schema) if self._schema and cut else ""


def _stop_met(event: Mapping[str, Any]) -> str:
    """The stop string that llama.cpp met and left out: the reader knows the end by it."""
    verbose = event.get("__verbose") or {}
    return str(verbose.get("stopping_word") or "") if verbose.get("stop_type") == "word" else ""


def usage_of(event: Mapping[str, Any]) -> Usage | None:
    """The tokens that an answer or a stream's event tells, if it does."""
    if usage := event.get("usage"):
        details = usage.get("prompt_tokens_details") or {}
        return Usage(
            usage.get("prompt_tokens") or 0,
            usage.get("completion_tokens") or 0,
            details.get("cached_tokens") or 0,
        )
    if timings := event.get("timings"):  # llama.cpp, before the last event
        cached = timings.get("cache_n") or 0
        return Usage(
            cached + (timings.get("prompt_n") or 0), timings.get("predicted_n") or 0, cached
        )
    return None


def _logprobs(given: Mapping[str, Any] | None, most: int) -> tuple[TokenLogprob, ...]:
    if not given:
        return ()
    if given.get("content") is not None:  # the chat API's shape
        return tuple(
            TokenLogprob(item["token"], item["logprob"], _best(_pairs(item), most))
            for item in given["content"]
        )
    tokens, values = given.get("tokens") or (), given.get("token_logprobs") or ()
    tops = given.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        TokenLogprob(token, value, _best(list((top or {}).items()), most))
        for token, value, top in zip(tokens, values, tops, strict=False)
        if value is not None
    )


def _pairs(item: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(other["token"], other["logprob"]) for other in item.get("top_logprobs") or ()]


def _best(alternatives: list[tuple[str, float]], most: int) -> tuple[tuple[str, float], ...]:
    """Servers add the token itself, or send more than were asked for."""
    return tuple(sorted(alternatives, key=lambda pair: -pair[1])[:most])
