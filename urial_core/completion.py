"""Completion: what an engine is asked for, what it returns, and what a model must offer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import getattr_static
from itertools import chain
from math import isfinite
from typing import Any, Protocol, TypeGuard, runtime_checkable

from urial_core.errors import UnsupportedSchemaError
from urial_core.parameters import GenerationParameters
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.template_stops import TemplateStops
from urial_core.structured.constraints import Choice, Constraint, JsonSchema

__all__ = [
    "Completion",
    "CompletionChunk",
    "CompletionModel",
    "CompletionRequest",
    "ModelFeatures",
    "TokenLogprob",
    "TokenRequest",
    "Tokenizer",
    "Usage",
    "estimate_tokens",
    "is_completion_model",
    "joined",
]

_ASCII_PER_TOKEN = 3
"""ASCII characters per token: a careful guess, since common tokenizers take four or more."""

_VERY_UNLIKELY = -9999.0

Tokenizer = Callable[[str], list[int]]
"""Encodes a text as token ids, the begin-of-text token included where the model has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One prompt to be continued: all that an engine needs.

    Attributes:
        prompt: The text to continue.
        prefix_length: How many of the prompt's characters, from its start, are the same in every
            request of this URIAL prompt: an engine caches their keys and values.
        stop: Strings at which an engine may stop: the prompt format's few, then the user's.
        parameters: How to sample; ``max_tokens`` is always set.
        constraint: What the completion must match. An engine that cannot enforce it ignores it
            (see ``ModelFeatures``).
        format: How the prompt is written: an engine that decodes the completion token by token
            can stop exactly where the turn ends. None for a plain text, which has no turns.
        prefill: What the prompt already holds of the reply.
        own_spans: Which of the prompt's characters, from a start to an end, are the prompt prefix's
            or the assistant's earlier replies: DRY penalizes copying these
            (``GenerationParameters.dry_multiplier``).
        template: What ends the reply where it continues the template of the message that it
            answers. It counts at line starts outside code blocks, so it cannot be sent to an
            engine as stop strings; ``urial_core.decoding`` applies it.
    """

    prompt: str
    prefix_length: int
    stop: tuple[str, ...]
    parameters: GenerationParameters
    constraint: Constraint | None = None
    format: PromptFormat | None = None
    prefill: str = ""
    template: TemplateStops | None = None
    own_spans: tuple[tuple[int, int], ...] = ()

    @property
    def max_tokens(self) -> int:
        """The completion's length limit, in tokens."""
        assert self.parameters.max_tokens is not None  # noqa: S101 - `compose` sets it
        return self.parameters.max_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest(CompletionRequest):
    """A request whose prompt is given as tokens.

    A prompt in text cannot hold special tokens, which a tuned model's chat template writes.

    Attributes:
        prompt_ids: The prompt's tokens, which are read in the place of ``prompt``.
    """

    prompt_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one completion.

    Attributes:
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens generated, the delimiter's included.
        cached_tokens: Of the input tokens, those found in the prefix cache; None if unknown.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None

    @classmethod
    def of(cls, read: object, written: object, cached: object = None) -> Usage | None:
        """Return the counts that an engine reports; None unless it reports prompt and reply."""
        if isinstance(read, int) and isinstance(written, int):
            return cls(read, written, cached if isinstance(cached, int) else None)
        return None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token's natural log-probability, before penalties and temperature.

    Attributes:
        token: The token's text.
        logprob: Its log-probability. -9999.0, as in the OpenAI API, stands for minus infinity,
            which JSON cannot hold.
        top: The most probable tokens at this position with theirs, best first, if asked for.
        drawn: The log-probability with which the token was drawn, after temperature; None where it
            was not drawn from the whole vocabulary, or the engine does not report it.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    drawn: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "logprob", _finite(self.logprob))
        top = tuple((token, _finite(logprob)) for token, logprob in self.top)
        object.__setattr__(self, "top", top)


@dataclass(frozen=True, slots=True)
class CompletionChunk:
    """A piece of a completion's raw text.

    Attributes:
        text: The text; may be empty.
        finish: On the last chunk, why the engine ended: "length" for the limit; anything else, such
            as "stop", for an end of the text.
        closing: On the last chunk, the end of the text that the engine added to complete JSON that
            the limit cut. The reply leaves it out: it is nothing that the model wrote.
        usage: Tokens so far, if the engine counts them. The latest one is the completion's.
        logprobs: Of the tokens in this piece, if asked for.
        token_ids: Ids of the tokens that the piece was decoded from, an end-of-text token included,
            if the engine reports them.
    """

    text: str
    finish: str | None = None
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    closing: str = ""
    token_ids: tuple[int, ...] = ()


Completion = CompletionChunk
"""A whole completion is a stream of one chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFeatures:
    """What a model can do besides continuing text. The defaults promise nothing.

    Attributes:
        enforces_choices: Whether a completion with a ``Choice`` is one of its options.
        scores_choices: Whether it also reports every option's log-probability (see ``Choice``).
        scores_texts: Whether these log-probabilities are those of texts of any length, each encoded
            as the tokenizer encodes it: a ``Choice`` of one text is that text's likelihood.
        enforces_json: Whether a completion with a ``JsonSchema`` matches the schema. Replies are
            validated anyway, but streamed before that: promise it only where it is certain.
        reports_every_token: Whether, with ``logprobs``, each generated token is reported, those of
            the delimiter and the end of the text included, and each with the log-probability of its
            draw (``TokenLogprob.drawn``).
        check_schema: Raises ``UnsupportedSchemaError`` for a schema that cannot be enforced; None
            where that shows only in use.
        with_arguments: Returns the model with additional keyword arguments for every call of the
            wrapped object; None where it takes none.
        with_model: Returns another model of the same server by its name; None where there is one.
    """

    enforces_choices: bool = False
    scores_choices: bool = False
    scores_texts: bool = False
    enforces_json: bool = False
    reports_every_token: bool = False
    check_schema: Callable[[JsonSchema], None] | None = None
    with_arguments: Callable[[Mapping[str, Any]], CompletionModel] | None = None
    with_model: Callable[[str], CompletionModel] | None = None

    def enforces(self, constraint: Constraint) -> bool:
        """Return whether completions are guaranteed to match a constraint."""
        if isinstance(constraint, Choice):
            return self.enforces_choices
        try:
            if self.enforces_json and self.check_schema is not None:
                self.check_schema(constraint)
        except UnsupportedSchemaError:
            return False
        return self.enforces_json


@runtime_checkable
class CompletionModel(Protocol):
    """A base model that continues text. Implement this to wrap any engine.

    Raw text is all it owes: ignored stop sequences, text after the end and, with
    ``may_echo``, echoed prompts are dealt with by the caller. It must end by
    ``request.max_tokens``, and should end at ``request.stop``. ``request.parameters.n`` is the
    caller's affair. Closing a stream must stop the model.

    Subclasses inherit the optional members: ``known_context_window``, ``may_echo``, ``features``,
    ``tokenizer`` and ``count_tokens``.
    """

    @property
    def name(self) -> str:
        """The model's name, for metadata."""

    @property
    def cache_key(self) -> Mapping[str, Any]:
        """What decides this model's output: part of every cache key, so no secrets."""

    @property
    def context_window(self) -> int | None:
        """Tokens of the context window, prompt and reply together; None if unknown.

        It may load the model or ask a server.
        """

    @property
    def known_context_window(self) -> int | None:
        """The context window, if it is known without loading or asking anything."""
        return None

    @property
    def may_echo(self) -> bool:
        """Whether the engine may return the prompt before its completion; it is then removed.

        Return True only for such an engine: any model may repeat a short prompt by itself.
        """
        return False

    @property
    def features(self) -> ModelFeatures:
        """What the model can do besides; a server may have to be asked."""
        return ModelFeatures()

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's own tokenizer; None if it is out of reach, and counts are estimates."""
        return None

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens with ``tokenizer``, or estimate them from its length."""
        tokenizer = self.tokenizer
        return len(tokenizer(text)) if tokenizer is not None else estimate_tokens(text)

    def complete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete several prompts, as one batch where the engine can; in order."""

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Complete a prompt piece by piece."""

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
        """Complete several prompts without blocking the event loop."""

    def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Complete a prompt piece by piece without blocking the event loop."""


def joined(chunks: Sequence[CompletionChunk]) -> Completion:
    """Join the chunks of one completion; its usage and finish are those of the last.

    No chunks make an empty completion, as a stream without any is.
    """
    return replace(
        chunks[-1] if chunks else CompletionChunk(""),
        text="".join(chunk.text for chunk in chunks),
        closing="".join(chunk.closing for chunk in chunks),
        logprobs=tuple(chain.from_iterable(chunk.logprobs for chunk in chunks)),
        token_ids=tuple(chain.from_iterable(chunk.token_ids for chunk in chunks)),
    )


def _finite(logprob: float) -> float:
    """Return a log-probability that JSON can hold; NaN counts as very unlikely, too."""
    return logprob if isfinite(logprob) else _VERY_UNLIKELY


def is_completion_model(value: object) -> TypeGuard[CompletionModel]:
    """Return whether an object has every member of the protocol; it may lack ``may_echo``.

    Unlike ``isinstance`` before Python 3.12, it does not evaluate properties, which may load a
    model or ask a server.
    """
    members = {name for name in vars(CompletionModel) if not name.startswith("_")} - {"may_echo"}
    return all(getattr_static(value, name, None) is not None for name in members)


def estimate_tokens(text: str) -> int:
    """Estimate a text's tokens from its length, where no tokenizer is available.

    Three ASCII characters count as one token, and each other character as one.
    """
    ascii_characters = sum(map(str.isascii, text))
    return len(text) - ascii_characters + ascii_characters // _ASCII_PER_TOKEN + 1
