"""A reply that is one JSON value in a given form."""

from __future__ import annotations

from collections.abc import Sequence

from urial_core.completion import CompletionChunk, CompletionModel
from urial_core.composing import ReplyRequest, format_of
from urial_core.decoding.stepped import SteppedReply, Steps
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.prompts.escaping import escape
from urial_core.replies import EndReason, Reply, ReplyEnd, TextDelta
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.json_repair import checked_json
from urial_core.structured.json_scanner import JsonValue

__all__ = ["JsonReply"]

_OPENING = {"object": "{", "array": "["}
_BEGINNINGS = '{["-0123456789tfn'
"""Characters that a JSON value can begin with."""


class JsonReply(SteppedReply):
    """Makes the events of a reply in JSON.

    The value is always checked, whoever wrote it. One that does not fit is written anew once, below
    what was wrong with it, unless some of it was given out; the reply's end says what is wrong with
    it then. Only a model that says that it holds to the form has its text given out at once, and
    only if ``live``.
    """

    def __init__(self, model: CompletionModel, request: ReplyRequest, *, live: bool) -> None:
        assert request.response_format is not None
        self._output: JsonSchema = request.response_format
        self._opening = _OPENING.get(self._output.schema.get("type", ""), "")
        self._deltas = list[TextDelta]()
        self._held = list[TextDelta]()
        self._value = JsonValue()
        self._reason: EndReason = "end_of_text"
        self._validation_error = ""
        super().__init__(model, request, live=live)

    def whole(self) -> Reply:
        """Return all of it as one reply."""
        logprobs = tuple(logprob for delta in self._deltas for logprob in delta.logprobs)
        return Reply(self._text, self._end(), logprobs)

    @property
    def _text(self) -> str:
        return _joined(self._deltas)

    def _end(self) -> ReplyEnd:
        return ReplyEnd(self._reason, usage=self._spent, validation_error=self._validation_error)

    def _run(self) -> Steps:
        prefill = self._request.prefill
        if not prefill and self._model.features.enforces(
            self._output.with_additional_properties_forbidden()
        ):
            yield from self._write("", live=self._live)
        else:
            yield from self._write_behind(prefill or self._opening)
        text, self._validation_error = self._checked()
        can_mend = not prefill and not self._deltas and self._reason != "length"
        if self._validation_error and can_mend:
            self._show_validation_error()
            yield from self._write_behind(self._opening)
            text, self._validation_error = self._checked()
        if not self._deltas:
            self._give_out(text.removeprefix(prefill))

    def _write_behind(self, opening: str) -> Steps:
        """Have the value written behind its opening, which the page holds or is given here."""
        self._written += opening.removeprefix(self._request.prefill)
        yield from self._write(opening)

    def _write(self, written: str, *, live: bool = False) -> Steps:
        """Have the value written, behind what the page already holds of it.

        Live, it is given out while it is written, from when it begins as the form wants it to.
        """
        section = TurnDecoder(format_of(self._request), written)
        self._held = []
        self._value = JsonValue()
        self._value.feed(written)

        def take(text: str, chunk: CompletionChunk) -> Sequence[TextDelta]:
            return pass_on(section.feed(text), chunk)

        def pass_on(text: str, chunk: CompletionChunk) -> Sequence[TextDelta]:
            known = len(self._value.text)
            self._value.feed(text)
            self.over = self._value.complete or section.ended
            if not (new := self._value.text[known:]):
                return ()
            delta = TextDelta(new, chunk.logprobs)
            if not live:
                self._held.append(delta)
            elif self._value.text[0] in (self._opening or _BEGINNINGS):
                self._deltas.append(delta)
                return [delta]
            else:
                self.over = True  # the model is not held after all
            return ()

        constraint = None if written else self._output.with_additional_properties_forbidden()
        yield from self._read(self._step(constraint=constraint), take)
        self._unsent += pass_on(section.flush(), CompletionChunk(""))
        cut = self._finish == "length" and not self.over
        self._reason = "length" if cut else "delimiter" if section.ended else "end_of_text"

    def _give_out(self, text: str) -> None:
        """Give a checked value out: as it came, or the text that was made of it."""
        as_it_came = text == _joined(self._held)
        self._deltas = self._held if as_it_came else [TextDelta(text)] if text else []
        self._unsent += self._deltas

    def _checked(self) -> tuple[str, str]:
        """The value as JSON text, and what is wrong with it, if anything.

        What is only written in another way is put right, unless it was given out.
        """
        return checked_json(self._value.text.strip(), self._output.text, stands=bool(self._deltas))

    def _show_validation_error(self) -> None:
        """Put what is wrong with the value on the page, and open another answer."""
        prompt_format = format_of(self._request)
        self._written += self._value.text.removeprefix(self._written)
        self._written += prompt_format.turn_end + prompt_format.turn(
            "system", escape(self._validation_error, prompt_format)
        )
        self._written += prompt_format.open_turn("assistant")
        self._discarded = len(self._written)


def _joined(deltas: Sequence[TextDelta]) -> str:
    return "".join(delta.text for delta in deltas)
