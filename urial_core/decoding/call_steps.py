"""The steps in which a reply's tool calls are written."""

from __future__ import annotations

from abc import ABC
from collections.abc import Generator, Sequence

from urial_core.completion import CompletionChunk, CompletionModel
from urial_core.composing import ReplyRequest, format_of
from urial_core.decoding.call_decoder import CallDecoder
from urial_core.decoding.call_form import call_schema
from urial_core.decoding.making import Delta
from urial_core.decoding.stepped import SteppedReply, Steps
from urial_core.decoding.turn_decoder import TurnDecoder
from urial_core.prompts.escaping import escape
from urial_core.prompts.turns import result_text
from urial_core.structured.constraints import Choice
from urial_core.tools import InvalidToolCall, Tool, ToolCall, ToolUse, call_start

__all__ = ["CallSteps"]

_ANOTHER_OFFSET = 0.0
"""Added to the log-probability that one more call follows, before it is weighed."""
_LEAST_TOKENS = 16
"""Tokens below which no call is begun anew."""


class CallSteps(SteppedReply, ABC):
    """Has calls written and reads them. The page must end in an open section for calls."""

    def __init__(self, model: CompletionModel, request: ReplyRequest, *, live: bool) -> None:
        assert request.tools is not None
        self._use: ToolUse = request.tools
        self._tools: tuple[Tool, ...] = tuple(self._use.callable)
        self._calls = list[ToolCall]()
        self._invalid = list[InvalidToolCall]()
        self._cut_off = False
        self._mended = False
        self._several = False
        self._has_read = False
        self._reader = CallDecoder(self._tools, 0)
        self._section = TurnDecoder(format_of(request))
        self._wrong: InvalidToolCall | None = None
        self._wrong_text = ""
        super().__init__(model, request, live=live)

    @property
    def _call_opening(self) -> str:
        """What the page still needs for a call's text to follow."""
        prompt_format = format_of(self._request)
        opened = prompt_format.open_turn("call")
        return "" if self._use.must_call else opened.removeprefix(prompt_format.separator)

    def _write_calls(self) -> Steps:
        """Have the calls written in their section, which is open."""
        form = call_schema(self._tools)
        if not self._model.features.enforces(form):
            yield from self._write_freely(self._tools)
            return
        goes_on = True
        while goes_on:
            number = len(self._calls)
            self._start_reading(self._tools, live=self._live and number == 0, parallel=False)
            yield from self._read_step(self._step(constraint=form))
            yield from self._after_reading()
            goes_on = len(self._calls) > number and (yield from self._goes_on())

    def _goes_on(self) -> Generator[ReplyRequest, None, bool]:
        """Have it decided whether another call follows the last one."""
        prompt_format = format_of(self._request)
        another = "\n" + call_start().rstrip()
        end = f"{prompt_format.turn_end}{prompt_format.separator}{prompt_format.tool_header}"
        choice = Choice((end, another), (0.0, _ANOTHER_OFFSET))
        if not self._use.parallel or self._tokens_left < _LEAST_TOKENS:
            return False
        if not self._model.features.enforces(choice):
            return False
        self._written = self._call_opening + self._lines
        if (yield from self._ask(self._step(constraint=choice), choice)) != another:
            return False
        self._written += "\n"
        return True

    def _write_freely(self, tools: Sequence[Tool], *, parallel: bool | None = None) -> Steps:
        """Have calls written by a model that nothing holds to their form."""
        opening = call_start(tools[0].name if len(tools) == 1 else None).rstrip()
        self._written += opening
        self._start_reading(tools, written=opening, parallel=parallel)
        yield from self._read_step(self._step())
        yield from self._after_reading()

    def _mend(self) -> Steps:
        """Show what was wrong with a call, and have it written anew."""
        assert self._wrong is not None
        prompt_format, wrong, self._wrong = format_of(self._request), self._wrong, None
        error = result_text(wrong.name, wrong.error, failed=True)
        lines = "\n".join(filter(None, (self._lines, self._wrong_text)))
        self._written = (
            self._call_opening
            + escape(lines, prompt_format)
            + prompt_format.turn_end
            + prompt_format.turn("tool", escape(error, prompt_format))
            + prompt_format.open_turn("call")
        )
        self._discarded = len(self._written)
        known = [tool for tool in self._tools if tool.name == wrong.name]
        self._mended = True
        yield from self._write_freely(known or self._tools, parallel=False)

    @property
    def _lines(self) -> str:
        return "\n".join(call.line for call in self._calls)

    # Reading

    def _ask(
        self, request: ReplyRequest, choice: Choice
    ) -> Generator[ReplyRequest, None, str | None]:
        """Ask for one of a few texts; return it, or None where something else was written."""
        pieces = list[str]()

        def take(text: str, _: CompletionChunk) -> Sequence[Delta]:
            pieces.append(text)
            written = "".join(pieces)
            self.over = not any(option.startswith(written) for option in choice.options)
            return ()

        yield from self._read(request, take)
        written = "".join(pieces)
        return written if written in choice.options else None

    def _read_step(self, request: ReplyRequest) -> Steps:
        yield from self._read(request, lambda text, _: self._read_calls(text))

    def _start_reading(
        self,
        tools: Sequence[Tool] | None = None,
        *,
        written: str = "",
        live: bool = False,
        parallel: bool | None = None,
    ) -> None:
        """Be ready for the text of calls, behind what the page already holds of the first."""
        self._several = self._use.parallel if parallel is None else parallel
        self._section = TurnDecoder(format_of(self._request), written)
        self._reader = CallDecoder(
            tools or self._tools, len(self._calls), live=live, written=written
        )
        self._has_read = False

    def _read_calls(self, text: str) -> list[Delta]:
        """Take more text of the calls' section."""
        self._has_read = True
        return self._take_calls(self._section.feed(text))

    def _take_calls(self, text: str) -> list[Delta]:
        deltas = list[Delta]()
        while text and not self.over:
            if self._reader.number and not self._reader.text and text.lstrip()[:1] not in ("", "{"):
                self.over = True  # no further call, but something else
                break
            new, text = self._reader.feed(text)
            deltas += new
            if not self._reader.complete:
                break
            deltas += self._end_call()
            self.over |= self._wrong is not None or not self._several
        self.over |= self._section.ended
        return deltas

    def _end_call(self) -> Sequence[Delta]:
        """Take the call that was read to the others, or note what is wrong with it."""
        reader = self._reader
        deltas, call = reader.end()
        if isinstance(call, InvalidToolCall):
            self._wrong, self._wrong_text = call, reader.text
        elif any((call.name, call.arguments) == (one.name, one.arguments) for one in self._calls):
            self.over = True  # small models repeat themselves; once is enough
            return ()
        else:
            self._calls.append(call)
            self._reader = CallDecoder(self._tools, len(self._calls))
        return deltas

    def _after_reading(self) -> Steps:
        """The text is over: end the call under way, and mend it if it cannot be made."""
        self._unsent += self._take_calls(self._section.flush())
        reader = self._reader
        if not self._wrong and not reader.complete and (reader.text or not self._calls):
            self._unsent += self._end_call()
        if self._wrong is None:
            return
        self._cut_off = self._finish == "length"
        can_mend = not (self._mended or self._cut_off or reader.given_out)
        if can_mend:
            yield from self._mend()
        else:
            self._invalid.append(self._wrong)
