"""Steps: how a reply asks for what it needs, without doing any I/O.

A reply is a generator, as in httpx's ``auth_flow``. It yields one of

- a ``CompletionRequest``, to start a completion, and is sent its first chunk;
- ``Signal.NEXT_CHUNK``, and is sent the next chunk, or None when the completion is over;
- ``Signal.END_COMPLETION``, when it wants no more of the completion;
- a ``CountTokens``, and is sent the number;
- a ``TextDelta`` or ``ToolCallDelta``, to be emitted;

and returns the ``Reply``. ``urial_core.chat`` drives it, sync or async, streamed or batched.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, TypeVar

from urial_core.completion import CompletionChunk, CompletionRequest, ModelFeatures, Usage
from urial_core.composing import ReplyRequest
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.replies import Reply, TextDelta, ToolCallDelta
from urial_core.structured.constraints import Constraint

__all__ = [
    "CompletionReader",
    "Continuation",
    "CountTokens",
    "ReplyContext",
    "ReplySteps",
    "Signal",
    "Step",
    "Steps",
    "total_usage",
]

_T = TypeVar("_T")


class Signal(Enum):
    """What a reply wants of the completion under way."""

    NEXT_CHUNK = auto()
    END_COMPLETION = auto()


@dataclass(frozen=True, slots=True)
class CountTokens:
    """The reply wants a text's tokens counted.

    Attributes:
        text: The text.
        exactly: Whether an estimate is of no use: None is sent where there is no tokenizer.
    """

    text: str
    exactly: bool = False


Step = CompletionRequest | Signal | CountTokens | TextDelta | ToolCallDelta
"""What a reply yields."""

Steps = Generator[Step, Any, _T]
"""A part of a reply that returns something."""

ReplySteps = Steps[Reply]
"""A whole reply."""


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What the steps of a reply depend on besides its request.

    Attributes:
        features: What the model can do.
        context_window: The model's context window, in tokens; None if unknown.
        live: Whether the reply is streamed, so that what is emitted cannot be retracted.
    """

    features: ModelFeatures
    context_window: int | None
    live: bool


class CompletionReader:
    """Reads one completion chunk by chunk.

    Attributes:
        finish: Why the engine ended, once it reported that: "stop" or "length".
    """

    def __init__(self, request: CompletionRequest) -> None:
        self.finish: str | None = None
        self._request = request
        self._usage: Usage | None = None
        self._raw = list[str]()
        self._started = False

    def read(self) -> Steps[CompletionChunk | None]:
        """Return the next chunk; None when the completion is over."""
        step = Signal.NEXT_CHUNK if self._started else self._request
        chunk: CompletionChunk | None = yield step
        self._started = True
        if chunk is None:
            return None
        self._raw.append(chunk.text)
        self.finish = chunk.finish or self.finish
        self._usage = chunk.usage or self._usage
        if not chunk.closing:
            return chunk
        return replace(chunk, text=chunk.text.removesuffix(chunk.closing))

    def end(self) -> Steps[Usage | None]:
        """End the completion; return its tokens, as reported or counted; None if unknown."""
        yield Signal.END_COMPLETION
        if self._usage is not None:
            return self._usage
        prompt = yield CountTokens(self._request.prompt, exactly=True)
        if prompt is None:
            return None
        begin_of_text = yield CountTokens("")  # which precedes the prompt alone
        written = yield CountTokens("".join(self._raw))
        return Usage(prompt, written - begin_of_text)


class Continuation:
    """A prompt that grows from step to step, by what the model and the reply write after it.

    Attributes:
        request: The request that the reply began with.
        format: How its prompt is written.
        written: What was written after its prompt.
        attempts: How often the reply was begun; more than once if a value or call was invalid.
    """

    def __init__(self, request: ReplyRequest, context_window: int | None) -> None:
        assert request.format is not None  # noqa: S101 - plain texts take one step
        self.request = request
        self.format: PromptFormat = request.format
        self.written = ""
        self.attempts = 1
        self._usages = list[Usage | None]()
        self._context_window = context_window
        self._discarded = 0  # how many characters of `written` are a failed attempt

    @property
    def usage(self) -> Usage | None:
        """Tokens of all steps; None if those of one are unknown."""
        return total_usage(self._usages)

    def retries(self, written: str) -> Steps[bool]:
        """Begin another attempt after a text that shows what is wrong with the one before.

        Returns:
            Whether tokens are left for it; if not, nothing has changed.
        """
        before = (self.written, self._discarded)
        self.written, self._discarded = written, len(written)
        if (yield from self.tokens_left()) < 1:
            self.written, self._discarded = before
            return False
        self.attempts += 1
        return True

    def next_request(self, constraint: Constraint | None = None) -> Steps[CompletionRequest]:
        """Return the request that continues the prompt with structure rather than prose.

        Nothing is penalised, since JSON and headers repeat; it is greedy unless a temperature is
        set.
        """
        tokens_left = yield from self.tokens_left()
        parameters = replace(
            self.request.parameters,
            temperature=self.request.parameters.temperature or 0.0,
            repetition_penalty=1.0,
            frequency_penalty=0.0,
            presence_penalty=0.0,
            dry_multiplier=0.0,
            end_bias=0.0,
            banned_openers=(),
            stop=(),
            max_tokens=max(tokens_left, 1),
        )
        return replace(
            self.request,
            prompt=self.request.prompt + self.written,
            parameters=parameters,
            stop=self.format.stop,
            constraint=constraint,
        )

    def tokens_left(self) -> Steps[int]:
        """Return the tokens that the reply may still take.

        What was written counts, a discarded attempt only against the context window.
        """
        kept = self.written[self._discarded :]
        left: int = self.request.max_tokens - ((yield CountTokens(kept)) if kept else 0)
        if not self._discarded or self._context_window is None:
            return left
        prompt: int = yield CountTokens(self.request.prompt + self.written)
        return min(left, self._context_window - prompt)

    def end(self, reader: CompletionReader) -> Steps[None]:
        """End a step's completion and add its tokens to the usage."""
        self._usages.append((yield from reader.end()))


def total_usage(steps: Sequence[Usage | None]) -> Usage | None:
    """Add up the output tokens of a reply's steps; None if those of one are unknown.

    The prompt's tokens are those of the first step: each step reads it again, but from the prefix
    cache.
    """
    known = [usage for usage in steps if usage is not None]
    if not known or len(known) < len(steps):
        return None
    return replace(known[0], output_tokens=sum(usage.output_tokens for usage in known))
