"""Tool calls: the schema that a call must match, and decoding calls out of a completion."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.prompts.prompt_format import PromptFormat
from urial_core.replies import ToolCallDelta
from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import grammar_schema
from urial_core.structured.json_scanner import JsonValue
from urial_core.structured.json_schema import map_subschemas
from urial_core.structured.json_text import dump_json, load_json
from urial_core.structured.json_validation import match_schema
from urial_core.structured.value_limits import DEFAULT_LIMITS, ValueLimits
from urial_core.tools import InvalidToolCall, Tool, ToolCall, new_call_id, quoted

__all__ = ["CallsDecoder", "ReplyCalls", "call_schema", "parse_call"]

_BETWEEN = re.compile(r"[\s,;\[\]}*•-]{0,16}(?:\d{1,2}[.)]?\s?)?")
"""What is skipped between two calls: commas and list marks."""
_CUT = "max_tokens ran out before the call was complete: raise max_tokens."


@lru_cache(maxsize=256)
def call_schema(tools: tuple[Tool, ...], limits: ValueLimits = DEFAULT_LIMITS) -> JsonSchema:
    """Return the schema that a grammar enforces of a call of one of the tools."""
    branches, definitions = list[dict[str, Any]](), dict[str, Any]()
    for number, tool in enumerate(tools):
        arguments: Any = grammar_schema(JsonSchema(tool.parameters), limits).schema.schema
        if '"$ref"' in tool.parameters:  # what it refers to must stay in one place with it
            definitions[str(number)] = _moved(arguments, f"#/$defs/{number}")
            arguments = {"$ref": f"#/$defs/{number}"}
        properties = {"name": {"const": tool.name}, "arguments": arguments}
        branches.append(
            {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        )
    schema = branches[0] if len(branches) == 1 else {"anyOf": branches}
    return JsonSchema.of({**schema, "$defs": definitions} if definitions else schema)


def parse_call(
    text: str,
    tools: Sequence[Tool],
    call_id: str,
    limits: ValueLimits | None = None,
    *,
    repair: bool = True,
) -> ToolCall | InvalidToolCall:
    """Return the call that a model wrote, or what is wrong with it.

    Args:
        text: What it wrote.
        tools: What may be called.
        call_id: The call's id.
        limits: How long values may get, where a grammar cut them; None for no limits.
        repair: Whether to repair what is only written differently. Not where it was emitted.
    """
    try:
        written = load_json(text, strict=not repair)
    except (ValueError, RecursionError) as error:
        return InvalidToolCall(text, f"This is not JSON: {error}.", id=call_id)
    if not isinstance(written, dict) or not isinstance(written.get("name"), str):
        return InvalidToolCall(text, 'A call is {"name": ..., "arguments": {...}}.', id=call_id)
    name, arguments = written["name"], written.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _loaded(arguments)
    shown = dump_json(arguments)
    known = {tool.name: tool for tool in tools}
    if name not in known:
        problem = f"There is no tool {name!r}: the tools are {', '.join(known)}."
        return InvalidToolCall(shown, problem, str(name), call_id)
    if not isinstance(arguments, dict):
        return InvalidToolCall(shown, "The arguments must be a JSON object.", name, call_id)
    schema = JsonSchema(known[name].parameters)
    arguments, mismatch = match_schema(arguments, schema.text, repair=repair)
    shown = dump_json(arguments)
    if mismatch:
        return InvalidToolCall(shown, f"The arguments are wrong: {mismatch}.", name, call_id)
    limited = schema.with_limits(limits).text if limits else "{}"
    if excess := match_schema(arguments, limited, repair=False)[1]:
        problem = f"The arguments reached a limit of JSON values: {excess}."
        return InvalidToolCall(shown, problem, name, call_id, exceeds_limits=True)
    return ToolCall(name, shown, call_id)


class ReplyCalls:
    """The valid calls of one reply, which are made once each.

    Attributes:
        answered: Calls of which the conversation has the results, so that they are not made again.
        made: The calls that the application is to make.
        written: All that the model wrote, repetitions included.
        loop: Whether the model goes round in circles: since the last new call, it wrote one
            repetition twice. Small models would go on with it for ever.
    """

    def __init__(self, answered: Sequence[ToolCall] = ()) -> None:
        """Start a reply to a conversation that has the results of these calls."""
        self.answered = answered
        self.made = list[ToolCall]()
        self.written = list[ToolCall]()
        self.loop = False
        self._repeated = list[ToolCall]()

    @property
    def repeats(self) -> bool:
        """Whether the last call that the model wrote is a repetition."""
        return bool(self._repeated)

    def add(self, call: ToolCall) -> bool:
        """Add a call that the model wrote; return whether it is to be made."""
        self.written.append(call)
        is_new = not any(map(call.repeats, (*self.made, *self.answered)))
        self.loop = not is_new and any(map(call.repeats, self._repeated))
        self._repeated = [] if is_new else [*self._repeated, call]
        if is_new:
            self.made.append(call)
        return is_new


class CallsDecoder:
    """Decodes the calls of one turn out of a completion's text.

    Between two calls, commas and list marks are skipped. Behind a call that repeats another, an
    invalid one is nothing: the model only goes on with what it had written.

    Attributes:
        calls: The reply's calls, those of earlier turns included.
        invalid: The call that is invalid; decoding ends there.
        invalid_text: The invalid call's text as it was written.
        emitted: Whether some of the call under way was emitted, so that it cannot be retried.
        has_text: Whether any text was taken.
    """

    def __init__(
        self,
        prompt_format: PromptFormat,
        tools: Sequence[Tool],
        calls: ReplyCalls,
        *,
        written: str = "",
        live: Sequence[Tool] = (),
        several: bool = True,
        limits: ValueLimits | None = None,
    ) -> None:
        """Start a turn.

        Args:
            prompt_format: How the prompt is written.
            tools: What may be called.
            calls: The reply's calls so far; valid ones are added, and repetitions skipped.
            written: What the prompt already holds of the first call.
            live: Tools of which the first call's arguments are emitted while they are written,
                unvalidated.
            several: Whether the turn may add several calls.
            limits: How long the values may get that a grammar cut; None without a grammar.
        """
        self.calls = calls
        self.invalid: InvalidToolCall | None = None
        self.invalid_text = ""
        self.has_text = False
        self._ended = False
        self._tools = tools
        self._several = several
        self._limits = limits
        self._turn = TurnDecoder(prompt_format, written)
        self._call = _CallDecoder(
            *(tools, len(calls.made)),
            written=written,
            live=live,
            limits=limits,
            answered=calls.answered,
        )
        self._between: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more need be generated."""
        return self._ended or self._turn.ended

    @property
    def emitted(self) -> bool:
        """Whether some of the call under way was emitted, so that it cannot be retried."""
        return self._call.emitted

    def feed(self, text: str) -> list[ToolCallDelta]:
        """Take more text of the turn; return what is to be emitted now."""
        self.has_text = True
        return self._take(self._turn.feed(text))

    def flush(self, *, cut: bool = False) -> list[ToolCallDelta]:
        """Return what is to be emitted, now that the completion is over.

        Args:
            cut: Whether it was cut at ``max_tokens``.
        """
        deltas = self._take(self._turn.flush(cut=cut))
        call = self._call
        is_begun = bool(call.value.text) or not self.calls.written
        if self.invalid is None and not call.value.complete and is_begun:
            deltas += self._end_call(cut=cut)
            self._ended = True
        return deltas

    def _take(self, text: str) -> list[ToolCallDelta]:
        deltas = list[ToolCallDelta]()
        while (text := self._without_separator(text)) and not self._ended:
            new, text = self._call.feed(text)
            deltas += new
            if self._call.value.complete:
                deltas += self._end_call()
        return deltas

    def _without_separator(self, text: str) -> str:
        """Return what is left of a text behind what stands between two calls."""
        if self._between is None:
            return text
        skipped, brace, rest = text.partition("{")
        self._between = (self._between + skipped).lstrip()
        if not _BETWEEN.fullmatch(self._between):
            self._ended = True  # something other than a further call
        elif brace:
            self._between = None
        return brace + rest

    def _end_call(self, *, cut: bool = False) -> Sequence[ToolCallDelta]:
        """Add the call that was read to the others, or note what is wrong with it."""
        deltas, call = self._call.end(cut=cut)
        if isinstance(call, InvalidToolCall):
            self._ended = True
            if self.calls.repeats and not self.emitted:
                return ()
            self.invalid, self.invalid_text = call, self._call.value.text
            return deltas
        is_new = self.calls.add(call)
        self._ended = self.calls.loop or (is_new and not self._several)
        self._call = _CallDecoder(self._tools, len(self.calls.made), limits=self._limits)
        self._between = ""
        return deltas if is_new else ()


class _CallDecoder:
    """Decodes one call.

    Attributes:
        value: The call's text so far.
        number: Which of the reply's calls it is, from 0.
        emitted: Whether some of it was emitted.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        number: int,
        *,
        written: str = "",
        live: Sequence[Tool] = (),
        limits: ValueLimits | None = None,
        answered: Sequence[ToolCall] = (),
    ) -> None:
        self.emitted = False
        self.number = number
        self._tools = tools
        self._live = live
        self._answered = answered
        self._limits = limits
        self._id = new_call_id()
        self.value = JsonValue()
        self.value.feed(written)
        self._sent = 0

    def feed(self, text: str) -> tuple[list[ToolCallDelta], str]:
        """Take more text; return what is to be emitted now, and the text after the call."""
        rest = self.value.feed(text)
        self.value.close_loop()
        return (self._live_deltas() if self._live else []), rest

    def end(self, *, cut: bool = False) -> tuple[list[ToolCallDelta], ToolCall | InvalidToolCall]:
        """Return what is left to be emitted, and the call.

        Args:
            cut: Whether the completion was cut at ``max_tokens`` before the call ended.
        """
        if cut and not self._close():
            call: ToolCall | InvalidToolCall = self._cut_call()
        else:
            call = parse_call(
                self.value.text, self._tools, self._id, self._limits, repair=not self.emitted
            )
        if isinstance(call, InvalidToolCall):
            return [], replace(call, index=self.number if self.emitted else None)
        if self.emitted:
            start, end = self.value.members["arguments"]
            return [], replace(call, arguments=self.value.text[start:end])
        return [ToolCallDelta(self.number, call.id, call.name, call.arguments)], call

    def _close(self) -> bool:
        """Close a call of which only the last brace is missing; return whether it is whole then."""
        if "arguments" in self.value.members and _is_json(self.value.text + "}"):
            self.value.feed("}")
        return self.value.complete

    def _cut_call(self) -> InvalidToolCall:
        start, _ = self.value.members.get("arguments", (0, None))
        return InvalidToolCall(self.value.text[start:], _CUT, self._name(self._tools), self._id)

    def _live_deltas(self) -> list[ToolCallDelta]:
        name = self._name(self._live)
        start, end = self.value.members.get("arguments", (0, None))
        if name is None or not start or self.value.text[start] != "{":
            return []
        if any(one.name == name for one in self._answered):
            return []  # it may turn out to be that call again, which is not made
        first = not self.emitted
        arguments = self.value.text[start + self._sent : end]
        if not arguments and not first:
            return []
        self.emitted = True
        self._sent += len(arguments)
        return [ToolCallDelta(self.number, self._id, name if first else "", arguments)]

    def _name(self, tools: Sequence[Tool]) -> str | None:
        start, end = self.value.members.get("name", (0, None))
        if end is None:
            return None
        written = self.value.text[start:end]
        return next((tool.name for tool in tools if quoted(tool.name) == written), None)


def _moved(schema: Any, place: str) -> Any:
    """Return a schema that stands at a place of another, with its own references following it."""
    if not isinstance(schema, dict):
        return schema
    moved = map_subschemas(schema, lambda child: _moved(child, place))
    moved.pop("$id", None)  # references are relative to it
    if (reference := moved.get("$ref", "")) == "#" or reference.startswith("#/"):
        moved["$ref"] = place + reference[1:]
    return moved


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _loaded(text: str) -> Any:
    try:
        return load_json(text)
    except (ValueError, RecursionError):
        return text
