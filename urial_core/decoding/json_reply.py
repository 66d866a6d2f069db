"""A reply that is one JSON value matching a schema."""

from __future__ import annotations

from urial_core.completion import TokenLogprob
from urial_core.composing import ReplyRequest
from urial_core.decoding.steps import (
    CompletionReader,
    Continuation,
    ReplyContext,
    ReplySteps,
    Steps,
)
from urial_core.decoding.token_spans import TokenSpans
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.prompts.escaping import escape
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.replies import EndReason, Reply, ReplyEnd, TextDelta
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import grammar_schema
from urial_core.structured.json_scanner import JsonValue
from urial_core.structured.json_schema import common_type
from urial_core.structured.json_validation import validate_json

__all__ = ["json_reply"]

_FIRST_CHARACTERS = {"object": "{", "array": "["}
_ANY_FIRST = '{["-0123456789tfn'
"""Characters that a JSON value can begin with."""


def json_reply(request: ReplyRequest, context: ReplyContext) -> ReplySteps:
    """Write a reply in JSON.

    The value is validated, whoever wrote it. One that does not match is retried once, with what is
    wrong as feedback, unless some of it was emitted; the reply's end reports what is wrong then.

    Only a live reply of a model that enforces the schema is emitted while it is written.
    """
    schema = request.response_format
    assert schema is not None  # noqa: S101 - the caller looked
    limits = request.parameters.value_limits
    grammar = grammar_schema(schema, limits)
    first = _FIRST_CHARACTERS.get(str(schema.schema.get("type")), "")
    if common_type(schema.schema) == "object":  # by its references or branches, too
        first = "{"
    steps = Continuation(request, context.context_window)
    prefill = request.prefill
    constraint = None
    if not prefill and context.features.enforces(grammar.schema):
        constraint, schema = grammar.schema, schema.with_limits(limits)
        live = context.live and grammar.exact
        value = _JsonDecoder(steps.format, emit_from=(first or _ANY_FIRST) if live else "")
        reason = yield from _write(steps, value, constraint)
    else:
        steps.written += "" if prefill else first
        value = _JsonDecoder(steps.format, prefill or first)
        reason = yield from _write(steps, value, None)
    is_fixed = bool(prefill) or value.emitted  # the caller has some of it already
    text, error = validate_json(value.text.strip(), schema.text, repair=not is_fixed)
    may_retry = error and not prefill and not value.emitted and reason != "length"
    if may_retry and (yield from steps.retries(_with_error(steps, value.text, error))):
        if constraint is None or not value.keeps(constraint):
            constraint = None
            steps.written += first
        value = _JsonDecoder(steps.format, "" if constraint else first)
        reason = yield from _write(steps, value, constraint)
        text, error = validate_json(value.text.strip(), schema.text)
    deltas = value.deltas
    if not value.emitted:
        text = text.removeprefix(prefill.lstrip())
        if text != _joined(deltas):  # its tokens are those that it was written with
            deltas = [TextDelta(text, _logprobs(deltas))] if text else []
        yield from deltas
    return Reply(
        _joined(deltas),
        ReplyEnd(reason, usage=steps.usage, validation_error=error, attempts=steps.attempts),
        _logprobs(deltas),
    )


def _write(
    steps: Continuation, value: _JsonDecoder, constraint: JsonSchema | None
) -> Steps[EndReason]:
    """Have the value written after what the prompt already holds of it; return why it ended."""
    reader = CompletionReader((yield from steps.next_request(constraint)))
    while not value.ended and (chunk := (yield from reader.read())) is not None:
        yield from value.feed(chunk.text, chunk.logprobs)
    yield from steps.end(reader)
    yield from value.flush()
    return value.end_reason(reader.finish)


class _JsonDecoder:
    """Decodes one completion into a JSON value.

    Attributes:
        deltas: The value's pieces.
        emitted: Whether they were emitted while they were written.
    """

    def __init__(
        self, prompt_format: PromptFormat, written: str = "", *, emit_from: str = ""
    ) -> None:
        """Start a value.

        Args:
            prompt_format: How the prompt is written.
            written: What the prompt already holds of the value.
            emit_from: Characters with which the value must begin to be emitted while it is
                written; none for not at all.
        """
        self.deltas = list[TextDelta]()
        self.emitted = False
        self._unconstrained = False
        self._emit_from = emit_from
        self._turn = TurnDecoder(prompt_format, written)
        self._tokens = TokenSpans()
        self._may_repeat = written == "{"  # a second one is no JSON: the model began anew
        self._value = JsonValue()
        self._value.feed(written)

    @property
    def text(self) -> str:
        """The value's text, what the prompt holds of it included."""
        return self._value.text

    def keeps(self, constraint: JsonSchema) -> bool:
        """Return whether the engine kept to a constraint: what was ended here may lack a part."""
        return self._value.looped or not validate_json(self.text.strip(), constraint.text)[1]

    @property
    def ended(self) -> bool:
        """Whether nothing more need be generated."""
        return self._value.complete or self._turn.ended or self._unconstrained

    def feed(self, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> list[TextDelta]:
        """Take more text; return what is to be emitted now."""
        self._tokens.feed(text, logprobs)
        return self._take(self._turn.feed(text))

    def flush(self) -> list[TextDelta]:
        """Return what is to be emitted, now that the completion is over."""
        return self._take(self._turn.flush())

    def end_reason(self, finish: str | None) -> EndReason:
        """Return why the value ended, of an engine that ended for the reason given."""
        if finish == "length" and not self.ended:
            return "length"
        return "delimiter" if self._turn.ended else "end_of_text"

    def _take(self, text: str) -> list[TextDelta]:
        if self._may_repeat and (begun := text.lstrip()):
            self._may_repeat = False
            text = begun.removeprefix("{")
        known = len(self._value.text)
        self._value.feed(text)
        self._value.close_loop()
        if not (new := self._value.text[known:]):
            return []
        if self._emit_from and self._value.text[0] not in self._emit_from:
            self._unconstrained = True  # whatever the model promised
            return []
        delta = TextDelta(new, self._tokens.take(new))
        self.deltas.append(delta)
        self.emitted = bool(self._emit_from)
        return [delta] if self.emitted else []


def _with_error(steps: Continuation, value: str, error: str) -> str:
    """Return the prompt's continuation by what is wrong with the value, and another answer."""
    prompt_format = steps.format
    return (
        steps.written
        + escape(value, prompt_format).removeprefix(steps.written)
        + prompt_format.turn_end
        + prompt_format.turn("system", escape(error, prompt_format))
        + prompt_format.open_turn("assistant")
    )


def _joined(deltas: list[TextDelta]) -> str:
    return "".join(delta.text for delta in deltas)


def _logprobs(deltas: list[TextDelta]) -> tuple[TokenLogprob, ...]:
    return tuple(logprob for delta in deltas for logprob in delta.logprobs)
