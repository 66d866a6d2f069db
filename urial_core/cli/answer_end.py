"""How an answer went: its end and its speed."""

from __future__ import annotations

from dataclasses import dataclass

from urial_core.replies import ReplyEnd

__all__ = ["AnswerEnd"]


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The last event of an answer.

    Attributes:
        reply: How the reply ended, and its tokens.
        first_token_seconds: From the question to the first piece of the answer.
        seconds: From the question to the end.
        truncated: How many of the oldest messages were left out because the window is too small.
    """

    reply: ReplyEnd
    first_token_seconds: float
    seconds: float
    truncated: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        """The speed of writing, the first token's wait apart; None if there was too little."""
        written = self.reply.usage.output_tokens - 1 if self.reply.usage else 0
        time = self.seconds - self.first_token_seconds
        return written / time if written > 0 and time > 0.01 else None

    def summary(self) -> str:
        """One line: tokens, waiting time, speed, and why it ended."""
        parts = list[str]()
        if usage := self.reply.usage:
            cached = f", {usage.cached_tokens} cached" if usage.cached_tokens else ""
            parts += [
                f"{usage.input_tokens - usage.cached_tokens} tokens in{cached}",
                f"{usage.output_tokens} out",
            ]
        parts.append(f"first token {self.first_token_seconds:.2f} s")
        if speed := self.tokens_per_second:
            parts.append(f"{speed:.0f} tokens/s")
        parts.append("stop" if self.reply.finish_reason == "stop" else "length limit")
        if self.truncated:
            parts.append(f"{self.truncated} oldest messages left out")
        return " · ".join(parts)
