"""What a reply consists of: the events of a stream, and the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from urial_core.completion import TokenLogprob, Usage

__all__ = ["EndReason", "FinishReason", "Reply", "ReplyEnd", "TextDelta"]

FinishReason = Literal["stop", "length"]
"""Why a reply is over, in the words of the OpenAI API."""

EndReason = Literal["delimiter", "end_of_text", "stop_string", "length"]
"""What exactly ended it: the frame, the model's own end-of-text, a user's stop, or max_tokens."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the reply's text; never empty, never taken back."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """The end of a reply; the last event of every stream.

    Attributes:
        reason: What ended it.
        stop: The user's stop string that ended it, if one did.
        usage: Tokens read and written.
    """

    reason: EndReason
    stop: str | None = None
    usage: Usage | None = None

    @property
    def finish_reason(self) -> FinishReason:
        """The reason as the OpenAI API names it."""
        return "length" if self.reason == "length" else "stop"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its text, how it ended, and its tokens' log-probabilities if asked for."""

    text: str
    end: ReplyEnd
    logprobs: tuple[TokenLogprob, ...] = ()
