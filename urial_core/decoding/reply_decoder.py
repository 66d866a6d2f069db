"""Decode a reply in text: from a model's raw completion to what the user gets."""

from __future__ import annotations

from collections.abc import Sequence

from urial_core.completion import CompletionRequest
from urial_core.decoding.stream_decoders import StopDecoder, WhitespaceTrimmer
from urial_core.decoding.template_decoder import InventedHeadingDecoder, TemplateDecoder
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.prompts.template_stops import TemplateStops
from urial_core.replies import EndReason

__all__ = ["ReplyDecoder", "reply_decoder"]


def reply_decoder(request: CompletionRequest) -> ReplyDecoder:
    """Return a fresh decoder for the completion of a request."""
    return ReplyDecoder(
        request.format,
        stop=request.parameters.stop,
        prefill=request.prefill,
        template=request.template,
    )


class ReplyDecoder:
    """Decodes a reply out of a completion's text, however the text is split into pieces.

    It never trusts the engine: whether that honours stop sequences or runs on, the reply is the
    same. Work per call is proportional to the piece.

    Attributes:
        blank: Whether the reply has no text yet. One that continues a prefill has.
    """

    def __init__(
        self,
        prompt_format: PromptFormat | None,
        *,
        stop: Sequence[str] = (),
        prefill: str = "",
        template: TemplateStops | None = None,
    ) -> None:
        """Start a reply.

        Args:
            prompt_format: How the prompt is written; None for a plain text, which only a stop
                sequence ends and of which no whitespace is dropped.
            stop: Sequences at which the user wants the reply to end.
            prefill: What the prompt already holds of the reply.
            template: What ends the reply where it continues the template of the message.
        """
        self.blank = prompt_format is not None and not prefill
        self._heading = InventedHeadingDecoder(prompt_format, prefill) if prompt_format else None
        self._turn = TurnDecoder(prompt_format, prefill) if prompt_format else None
        self._stops = StopDecoder(stop)
        self._template = TemplateDecoder(template, prefill) if template else None
        self._whitespace = WhitespaceTrimmer(keep_leading=bool(prefill)) if prompt_format else None

    def feed(self, text: str) -> str:
        """Take more of the completion; return what it adds to the reply, perhaps nothing."""
        if self.ended:
            return ""
        return self._pass_on(self._within_turn(text))

    def flush(self, *, cut: bool = False) -> str:
        """Return what was held back, now that the completion is over.

        Args:
            cut: Whether it was cut at ``max_tokens``: then a delimiter that had begun is left out.
        """
        if self.ended:
            return ""
        rest = ""
        if self._heading and self._turn:
            rest = self._turn.feed(self._heading.flush(cut=cut)) + self._turn.flush(cut=cut)
        return self._pass_on(rest, last=True, cut=cut)

    @property
    def ended(self) -> bool:
        """Whether the reply is over and nothing more need be generated."""
        return self._delimited or self._continues_template or self._stops.matched is not None

    @property
    def skipped(self) -> int:
        """Characters left out before the text, whitespace aside: an echo of the cue, a fence."""
        return self._template.skipped if self._template else 0

    @property
    def ended_blank(self) -> bool:
        """Whether the reply has no text although no stop sequence ended it."""
        return self.blank and self.stop is None

    @property
    def stop(self) -> str | None:
        """The user's stop sequence that ended the reply, if one did."""
        return None if self._continues_template else self._stops.matched

    def end_reason(self, engine_finish: str | None) -> EndReason:
        """Return why the reply ended.

        Args:
            engine_finish: What the engine reports: "length", or anything else for "stop".
        """
        if self.stop is not None:
            return "stop_string"
        if self._continues_template:
            return "template"
        if self._delimited:
            return "delimiter"
        return "length" if engine_finish == "length" else "end_of_text"

    @property
    def _delimited(self) -> bool:
        return self._turn is not None and self._turn.ended

    @property
    def _continues_template(self) -> bool:
        return self._template is not None and self._template.ended

    def _within_turn(self, text: str) -> str:
        if self._heading is None or self._turn is None:
            return text
        return self._turn.feed(self._heading.feed(text))

    def _pass_on(self, text: str, *, last: bool = False, cut: bool = False) -> str:
        last = last or self._delimited
        text = self._stops.feed(text)
        text += self._stops.flush() if last else ""
        if self._template:
            text = self._template.feed(text)
            if last or self._stops.matched is not None:
                text += self._template.flush(cut=cut and self._stops.matched is None)
        if self._whitespace:
            text = self._whitespace.feed(text)
        self.blank = self.blank and not text
        return text
