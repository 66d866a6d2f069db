"""The reader that turns a model's raw text into the reply."""

from __future__ import annotations

from collections.abc import Sequence

from urial_core.completion import CompletionRequest
from urial_core.decoding.echo import EchoDecoder
from urial_core.decoding.stops import StopDecoder
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.decoding.whitespace import WhitespaceTrimmer
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.replies import EndReason

__all__ = ["ReplyDecoder", "reply_decoder"]


def reply_decoder(request: CompletionRequest, *, may_echo: bool = False) -> ReplyDecoder:
    """Return a fresh decoder for the completion of a request.

    Args:
        request: The request.
        may_echo: Whether the completion may begin with a copy of the prompt, to be dropped.
    """
    return ReplyDecoder(
        request.format,
        stop=request.parameters.stop,
        prompt=request.prompt if may_echo else "",
        prefill=request.prefill,
    )


class ReplyDecoder:
    """Reads a reply out of a completion's text, however the text is split into pieces.

    It never trusts the engine: whether that honours stop strings, repeats the prompt or runs on,
    the reply is the same. Work per call is in proportion to the piece.

    Attributes:
        blank: Whether the reply has no text yet. One that continues a prefill has.
    """

    def __init__(
        self,
        prompt_format: PromptFormat | None,
        *,
        stop: Sequence[str] = (),
        prompt: str = "",
        prefill: str = "",
    ) -> None:
        """Start a reply.

        Args:
            format: How the page is written; None for plain text, which nothing but a stop string
                ends and of which no whitespace is truncated.
            stop: Strings at which the user wants the reply to end.
            prompt: The page sent, to recognise an engine that repeats it.
            prefill: What the page already holds of the reply.
        """
        self.blank = prompt_format is not None and not prefill
        self._echo = EchoDecoder(prompt)
        self._section = TurnDecoder(prompt_format, prefill) if prompt_format else None
        self._stops = StopDecoder(stop)
        self._whitespace = WhitespaceTrimmer(keep_leading=bool(prefill)) if prompt_format else None

    def feed(self, text: str) -> str:
        """Take more of the completion; return what it adds to the reply, perhaps nothing."""
        if self.ended:
            return ""
        text = self._echo.feed(text)
        return self._pass_on(self._section.feed(text) if self._section else text)

    def flush(self, *, cut: bool = False) -> str:
        """The completion is over: return what was held back.

        Args:
            cut: Whether it was cut at ``max_tokens``: then an end that had begun is left out.
        """
        if self.ended:
            return ""
        rest = self._echo.flush()
        if self._section:
            rest = self._section.feed(rest) + self._section.flush(cut=cut)
        return self._pass_on(rest, last=True)

    @property
    def ended(self) -> bool:
        """Whether the reply is over and nothing more need be generated."""
        return self._delimited or self._stops.matched is not None

    @property
    def ended_blank(self) -> bool:
        """Whether the reply has no text although nobody asked for it to end."""
        return self.blank and self.stop is None

    @property
    def stop(self) -> str | None:
        """The user's stop string that ended the reply, if one did."""
        return self._stops.matched

    def end_reason(self, engine_finish: str | None) -> EndReason:
        """Say why the reply ended.

        Args:
            engine_finish: What the engine says: "length", or anything else for "stop".
        """
        if self.stop is not None:
            return "stop_string"
        if self._delimited:
            return "delimiter"
        return "length" if engine_finish == "length" else "end_of_text"

    @property
    def _delimited(self) -> bool:
        return self._section is not None and self._section.ended

    def _pass_on(self, text: str, *, last: bool = False) -> str:
        text = self._stops.feed(text)
        if last or self._delimited:
            text += self._stops.flush()
        if self._whitespace:
            text = self._whitespace.feed(text)
        self.blank = self.blank and not text
        return text
