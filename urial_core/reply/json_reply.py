"""A reply that is one JSON value in a given form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from urial_core.completion import CompletionChunk, CompletionModel
from urial_core.constraint import JsonSchema, constrains
from urial_core.neutralise import neutralise
from urial_core.reply.json_value import JsonValue
from urial_core.reply.section import SectionReader
from urial_core.reply.stepped import SteppedReply, Steps
from urial_core.reply.values import EndReason, Reply, ReplyEnd, TextDelta
from urial_core.schema import fitted

if TYPE_CHECKING:
    from urial_core.request import Request

__all__ = ["JsonReply"]

_OPENING = {"object": "{", "array": "["}


class JsonReply(SteppedReply):
    """Makes the events of a reply in JSON.

    A model that holds to constraints is trusted, and its text given out at once. What another
    writes is kept until it is whole, checked, and written anew once if it does not fit; if that
    does not fit either, it is given out as it is, for the application to refuse.
    """

    def __init__(self, model: CompletionModel, request: Request) -> None:
        assert request.output is not None  # noqa: S101 - `start_reply` looked
        self._output: JsonSchema = request.output
        self._deltas = list[TextDelta]()
        self._value = JsonValue()
        self._reason: EndReason = "end_of_text"
        super().__init__(model, request)

    def whole(self) -> Reply:
        """Return all of it as one reply."""
        logprobs = tuple(logprob for delta in self._deltas for logprob in delta.logprobs)
        return Reply(self._text, self._end(), logprobs)

    @property
    def _text(self) -> str:
        return "".join(delta.text for delta in self._deltas)

    def _end(self) -> ReplyEnd:
        return ReplyEnd(self._reason, usage=self._spent)

    def _run(self) -> Steps:
        prefill = self._request.prefill
        if not prefill and constrains(self._model, self._output):
            yield from self._write("", live=True)
            return
        opening = prefill or _OPENING.get(self._output.schema.get("type", ""), "")
        self._written = opening.removeprefix(prefill)
        yield from self._write(opening)
        text, wrong = self._checked()
        if wrong and not prefill and self._reason != "length":
            self._show(wrong)
            self._written += opening
            yield from self._write(opening)
            text, wrong = self._checked()
        if text := text.removeprefix(prefill):
            self._unsent += self._give(text)

    def _write(self, written: str, *, live: bool = False) -> Steps:
        """Have the value written, behind what the page already holds of it."""
        section = SectionReader(self._request.frame, written)
        self._value = JsonValue()
        self._value.feed(written)

        def take(text: str, chunk: CompletionChunk) -> Sequence[TextDelta]:
            return pass_on(section.feed(text), chunk)

        def pass_on(text: str, chunk: CompletionChunk) -> Sequence[TextDelta]:
            known = len(self._value.text)
            self._value.feed(text)
            self.over = self._value.complete or section.ended
            new = self._value.text[known:]
            return self._give(new, chunk) if live and new else ()

        constraint = None if written else self._output
        yield from self._read(self._step(constraint=constraint), take)
        self._unsent += pass_on(section.flush(), CompletionChunk(""))
        cut = self._finish == "length" and not self.over
        self._reason = "length" if cut else "delimiter" if section.ended else "end_of_text"

    def _give(self, text: str, chunk: CompletionChunk | None = None) -> list[TextDelta]:
        delta = TextDelta(text, chunk.logprobs if chunk else ())
        self._deltas.append(delta)
        return [delta]

    def _checked(self) -> tuple[str, str]:
        """The value as JSON text, and what is wrong with it, if anything."""
        text = self._value.text.strip()
        try:
            loaded = json.loads(text, strict=False)
        except ValueError as error:
            return text, f"This is not JSON: {error}."
        value, wrong = fitted(loaded, self._output.text)
        if value == loaded and type(value) is type(loaded):
            return text, wrong
        return json.dumps(value, ensure_ascii=False), wrong

    def _show(self, wrong: str) -> None:
        """Put what is wrong with the value on the page, and open another answer."""
        frame = self._request.frame
        self._written += self._value.text.removeprefix(self._written)
        self._written += frame.closing + frame.section("system", neutralise(wrong, frame))
        self._written += frame.open_section("assistant")
