"""Read a tool call out of the text of its section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from urial_core.decoding.call_form import call_of
from urial_core.replies import ToolCallDelta
from urial_core.structured.json_scanner import JsonValue
from urial_core.tools import InvalidToolCall, Tool, ToolCall, new_call_id, quoted

__all__ = ["CallDecoder"]


class CallDecoder:
    """Reads one call, piece by piece.

    Attributes:
        number: Which of the reply's calls it is, from 0.
        given_out: Whether any of it was given out, so that it cannot be written anew.
    """

    def __init__(
        self, tools: Sequence[Tool], number: int, *, live: bool = False, written: str = ""
    ) -> None:
        """Start a call.

        Args:
            tools: What may be called.
            number: Which of the reply's calls it is.
            live: Whether to give its arguments out while they are written, unchecked.
            written: What the page already holds of it.
        """
        self.given_out = False
        self._tools = tools
        self.number = number
        self._live = live
        self._id = new_call_id()
        self._value = JsonValue()
        self._value.feed(written)
        self._sent = 0

    @property
    def complete(self) -> bool:
        """Whether the call's text is whole."""
        return self._value.complete

    @property
    def text(self) -> str:
        """The call's text so far."""
        return self._value.text

    def feed(self, text: str) -> tuple[list[ToolCallDelta], str]:
        """Take more text; return what it adds to the call, and what stands behind the call."""
        rest = self._value.feed(text)
        return (self._live_deltas() if self._live else []), rest

    def end(self) -> tuple[list[ToolCallDelta], ToolCall | InvalidToolCall]:
        """The text is over: return what was held back of the call, and the call."""
        call = call_of(self._value.text, self._tools, self._id)
        if isinstance(call, InvalidToolCall):
            return [], call
        if self.given_out:
            start, end = self._value.members["arguments"]
            return [], replace(call, arguments=self._value.text[start:end])
        return [ToolCallDelta(self.number, call.id, call.name, call.arguments)], call

    def _live_deltas(self) -> list[ToolCallDelta]:
        name = self._name()
        start, end = self._value.members.get("arguments", (0, None))
        if name is None or not start or self._value.text[start] != "{":
            return []
        first = not self.given_out
        arguments = self._value.text[start + self._sent : end]
        if not arguments and not first:
            return []
        self.given_out = True
        self._sent += len(arguments)
        return [ToolCallDelta(self.number, self._id, name if first else "", arguments)]

    def _name(self) -> str | None:
        start, end = self._value.members.get("name", (0, None))
        if end is None:
            return None
        written = self._value.text[start:end]
        return next((tool.name for tool in self._tools if quoted(tool.name) == written), None)
