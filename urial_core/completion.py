"""Completion: what an engine gives back, and what a model must offer to be wrapped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

if TYPE_CHECKING:
    from urial_core.request import Request

__all__ = [
    "Completion",
    "CompletionChunk",
    "CompletionModel",
    "TokenLogprob",
    "Usage",
    "counted_usage",
    "is_completion_model",
    "schedules_requests",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one completion.

    Attributes:
        input_tokens: Tokens of the page.
        output_tokens: Tokens generated, the delimiter's included.
        cached_tokens: Of the input tokens, those whose attention state was reused.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token's natural log-probability, before penalties and temperature.

    Attributes:
        token: The token's text.
        logprob: Its log-probability.
        top: The most probable tokens at this place with theirs, best first, if asked for.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class CompletionChunk:
    """A piece of a completion's raw text.

    Attributes:
        text: The text; may be empty.
        finish: On the last chunk, why the engine ended: "stop" or "length".
        usage: Tokens so far, if the engine counts them. The latest one counts.
        logprobs: Of the tokens in this piece, if asked for.
    """

    text: str
    finish: str | None = None
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


Completion = CompletionChunk
"""A whole completion is a stream of one piece."""


@runtime_checkable
class CompletionModel(Protocol):
    """A base model that continues text. Implement this to have any engine wrapped.

    Raw text is all it owes: echoed prompts, ignored stop strings and text behind the end are dealt
    with by the caller. It must end by ``request.parameters.max_tokens``, and should end at
    ``request.stop``. ``request.parameters.n`` is the caller's affair. Closing a stream must stop
    the model.
    """

    @property
    def name(self) -> str:
        """The model's name, for metadata."""

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """What decides this model's output: part of every cache key, so no secrets."""

    @property
    def context_window(self) -> int | None:
        """Tokens the model can attend to, prompt and reply together; None if unknown."""

    @property
    def counts_exactly(self) -> bool:
        """Whether ``count_tokens`` asks the model's own tokenizer, or makes a careful guess."""

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens."""

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Complete several pages, as one batch where the engine can; in order."""

    def stream(self, request: Request) -> Generator[CompletionChunk]:
        """Complete a page piece by piece."""

    async def acomplete(self, requests: Sequence[Request]) -> list[Completion]:
        """As ``complete``, without blocking the event loop."""

    def astream(self, request: Request) -> AsyncGenerator[CompletionChunk]:
        """As ``stream``, without blocking the event loop."""


def counted_usage(model: CompletionModel, prompt: str, written: str) -> Usage:
    """Count with a model's own tokenizer what an engine did not report."""
    begin_of_text = model.count_tokens("")  # which stands before the page alone
    return Usage(model.count_tokens(prompt), model.count_tokens(written) - begin_of_text)


def is_completion_model(value: object) -> TypeGuard[CompletionModel]:
    """Whether an object has all that the protocol asks for.

    Unlike ``isinstance`` before Python 3.12, it does not ask for the properties' values, which may
    load a model or ask a server.
    """
    members = (name for name in vars(CompletionModel) if not name.startswith("_"))
    return all(getattr_static(value, name, None) is not None for name in members)


def schedules_requests(model: CompletionModel) -> bool:
    """Whether a model is best sent each request as it comes, and writes it beside the others.

    Servers with continuous batching are such. Requests that are brought together for one
    ``complete`` would only wait for the longest among them. Such a model has an attribute
    ``schedules_requests`` that is true.
    """
    return bool(getattr(model, "schedules_requests", False))
