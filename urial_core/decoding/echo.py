"""Remove the echo of its prompt that a model may return before a completion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from urial_core.completion import CompletionChunk, CompletionRequest
from urial_core.decoding.steps import ReplySteps, Signal
from urial_core.decoding.stream_decoders import EchoDecoder
from urial_core.decoding.token_spans import TokenSpans
from urial_core.replies import Reply

__all__ = ["without_echo"]


def without_echo(steps: ReplySteps) -> ReplySteps:
    """Take a reply's steps, each completion without a copy of its prompt at the start."""
    answer: Any = None
    completion = _Completion("")
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        answer = yield step
        if isinstance(step, CompletionRequest):
            completion = _Completion(step.prompt)
        if isinstance(step, CompletionRequest) or step is Signal.NEXT_CHUNK:
            answer = completion.after_echo(answer)


class _Completion:
    """A completion that may begin with its prompt."""

    def __init__(self, prompt: str) -> None:
        self._echo = EchoDecoder(prompt)
        self._tokens = TokenSpans()

    def after_echo(self, chunk: CompletionChunk | None) -> CompletionChunk | None:
        """Return what follows the echo in the next chunk; None for the end, as it is given."""
        text = self._echo.feed(chunk.text) if chunk else self._echo.flush()
        if chunk is None and not text:
            return None
        chunk = chunk or CompletionChunk("")
        self._tokens.feed(chunk.text, chunk.logprobs)
        self._tokens.skip(len(chunk.text) - len(text))  # negative where held text was no echo
        return replace(chunk, text=text, logprobs=self._tokens.take(text))
