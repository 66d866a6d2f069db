"""A reply that may call tools: decide, then answer or write calls.

    answer or call? --> the answer, as without tools
                    --> a call --> one more call? --> ...

A model that enforces constraints takes these as steps of their own, so that name, arguments and
form are valid by construction. Any other writes header and calls in one completion. Calls are
validated when they are whole; an invalid one is retried once, with what is wrong as feedback. A
call that was answered, with no other message behind it, is not made again, since small models would
go on with it for ever: the answer is written instead or, where a call is required, a call of
another tool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from urial_core.completion import CompletionChunk, CompletionRequest, TokenLogprob, joined
from urial_core.composing import ReplyRequest
from urial_core.decoding.json_reply import json_reply
from urial_core.decoding.steps import (
    CompletionReader,
    Continuation,
    ReplyContext,
    ReplySteps,
    Steps,
    total_usage,
)
from urial_core.decoding.stream_decoders import HeaderDecoder
from urial_core.decoding.text_reply import TextReply, text_reply
from urial_core.decoding.tool_calls import CallsDecoder, ReplyCalls, call_schema
from urial_core.prompts.escaping import escape
from urial_core.prompts.turns import answered_calls, result_text, write_response_format
from urial_core.replies import Reply, ReplyEnd, TextDelta, ToolCallDelta
from urial_core.structured.constraints import Choice, JsonSchema
from urial_core.structured.grammar import grammar_schema
from urial_core.structured.json_validation import validate_json
from urial_core.tools import InvalidToolCall, Tool, ToolUse, call_start

__all__ = ["tool_reply"]

_LEAST_TOKENS = 16
"""Tokens below which no further call is begun."""


def tool_reply(request: ReplyRequest, context: ReplyContext) -> ReplySteps:
    """Write a reply that may call tools."""
    return _ToolReply(request, context).run()


class _ToolReply:
    """The state of one reply with tools; its methods are steps."""

    def __init__(self, request: ReplyRequest, context: ReplyContext) -> None:
        assert request.tools is not None  # noqa: S101 - the caller looked
        self._request = request
        self._context = context
        self._features = context.features
        self._use: ToolUse = request.tools
        self._tools: tuple[Tool, ...] = tuple(self._use.callable)
        self._limits = request.parameters.value_limits
        self._steps = Continuation(request, context.context_window)
        self._format = self._steps.format
        self._calls = ReplyCalls(answered_calls(request.conversation))
        self._invalid = list[InvalidToolCall]()
        self._cut = False

    def run(self) -> ReplySteps:
        """Write the whole reply."""
        if not self._use.must_call:
            return (yield from self._decide())
        others = self._tools_without_answered_calls()
        if not others:
            self._calls.answered = ()
        yield from self._write_calls()
        if not (self._calls.made or self._invalid):
            self._calls.written.clear()
            self._steps.written, self._tools = self._calls_start, others
            yield from self._write_calls()
        return self._calls_reply()

    def _tools_without_answered_calls(self) -> tuple[Tool, ...]:
        called = {call.name for call in self._calls.answered}
        return tuple(tool for tool in self._tools if tool.name not in called)

    # Answer or call

    def _decide(self) -> ReplySteps:
        choice = yield from self._calibrated_choice()
        chosen = None
        if self._features.enforces(choice):
            request = replace(self._request, constraint=choice)
            chosen = yield from self._choose(request, choice)
        if chosen is None:
            return (yield from self._write_freely())
        if chosen == choice.options[0]:
            return (yield from self._write_answer())
        self._steps.written = self._calls_start
        yield from self._write_calls()
        return (yield from self._end_reply())

    def _calibrated_choice(self) -> Steps[Choice]:
        """Return the choice between answer and call, the model's bias subtracted.

        The bias is how much it prefers a call for a query without content (contextual calibration,
        Zhao et al. 2021, section 4).
        """
        choice = self._request.constraint
        assert isinstance(choice, Choice)  # noqa: S101 - `compose` made it
        prompt = self._request.content_free_prompt
        if not prompt or not self._features.scores_choices:
            return choice
        request = yield from self._steps.next_request(Choice(choice.options))
        reader = CompletionReader(replace(request, prompt=prompt))
        logprobs = list[TokenLogprob]()
        while (chunk := (yield from reader.read())) is not None:
            logprobs += chunk.logprobs
        yield from reader.end()  # not a part of the reply's usage
        answer, call = choice.options
        scores = dict(logprobs[-1].top) if logprobs else {}
        if answer not in scores or call not in scores:
            return choice
        return Choice(choice.options, (0.0, scores[answer] - scores[call]))

    def _choose(self, request: CompletionRequest, choice: Choice) -> Steps[str | None]:
        """Ask for one of a few texts; return it, or None if something else was written."""
        reader = CompletionReader(request)
        text = ""
        while any(option.startswith(text) for option in choice.options):
            if (chunk := (yield from reader.read())) is None:
                break
            text += chunk.text
        yield from self._steps.end(reader)
        return text if text in choice.options else None

    def _write_freely(self) -> ReplySteps:
        """Let the model open an answer or calls, and go on with what it opened."""
        header = HeaderDecoder(self._format)
        answer = TextReply(replace(self._request, prompt="", constraint=None))
        calls = self._decoder(self._tools, several=self._use.parallel)
        reader = CompletionReader(replace(self._request, constraint=None))
        read = list[CompletionChunk]()  # that the answer has not been fed yet

        def feed(text: str) -> Sequence[TextDelta | ToolCallDelta]:
            if header.kind == "call":
                return calls.feed(text) if text else ()
            if header.kind is None or self._request.response_format or not text:
                return ()
            chunk = joined(read)
            read.clear()
            return answer.feed(chunk, len(chunk.text) - len(text))

        def ended() -> bool:
            asks_for_json = header.kind == "assistant" and self._request.response_format
            return bool(asks_for_json) or answer.ended or calls.ended

        while not ended() and (chunk := (yield from reader.read())) is not None:
            read.append(chunk)
            yield from feed(header.feed(chunk.text))
        yield from self._steps.end(reader)
        yield from feed(header.flush())
        if header.kind == "call":
            return (yield from self._finish_calls(reader, calls))
        if not self._request.response_format:
            yield from answer.flush(reader.finish)
            if not answer.is_blank:
                return answer.reply(self._steps.usage)
            self._steps.attempts += 1
        return (yield from self._write_answer())

    def _finish_calls(self, reader: CompletionReader, calls: CallsDecoder) -> ReplySteps:
        """Go on with the calls that the model opened by itself."""
        self._steps.written = self._calls_start
        if calls.has_text:
            yield from self._end_calls(reader, calls)
        else:
            yield from self._write_calls()
        return (yield from self._end_reply())

    def _end_reply(self) -> ReplySteps:
        """Return the calls, or have the answer written if there is none that is new."""
        if self._calls.made or self._invalid:
            return self._calls_reply()
        return (yield from self._write_answer())

    def _write_answer(self) -> ReplySteps:
        """Have the answer written in a turn that we open, as a reply without tools."""
        prompt_format, schema = self._format, self._request.response_format
        opened = prompt_format.open_turn("assistant")
        self._steps.written = opened.removeprefix(prompt_format.separator)
        tokens_left = yield from self._steps.tokens_left()
        rule = write_response_format(schema, prompt_format)
        turns = (self._request.question_again + rule + opened).removeprefix(prompt_format.separator)
        parameters = self._request.parameters
        request = replace(
            self._request,
            prompt=self._request.prompt + turns,
            stop=(*prompt_format.stop, *parameters.stop),
            parameters=replace(parameters, max_tokens=max(tokens_left, 1)),
            constraint=grammar_schema(schema, parameters.value_limits).schema if schema else None,
            tools=None,
        )
        reply = yield from json_reply(request, self._context) if schema else text_reply(request)
        usage = total_usage([self._steps.usage, reply.end.usage])
        attempts = self._steps.attempts - 1 + reply.end.attempts
        return replace(reply, end=replace(reply.end, usage=usage, attempts=attempts))

    # Calls

    @property
    def _calls_start(self) -> str:
        """What the prompt still needs for a call's text to follow."""
        if self._use.must_call:
            return ""
        return self._format.open_turn("call").removeprefix(self._format.separator)

    @property
    def _call_lines(self) -> str:
        return "\n".join(call.line for call in self._calls.written)

    def _decoder(self, tools: Sequence[Tool], **options: Any) -> CallsDecoder:
        return CallsDecoder(self._format, tools, self._calls, **options)

    def _write_calls(self) -> Steps[None]:
        """Have calls written in their turn, which is open."""
        schema = call_schema(self._tools, self._limits)
        if not self._features.enforces(schema):
            yield from self._write_calls_unconstrained(self._tools, several=self._use.parallel)
            return
        goes_on = True
        while goes_on:
            number = len(self._calls.written)
            decoder = self._decoder(
                self._tools,
                live=self._exact_tools if self._context.live and not self._calls.made else (),
                several=False,
                limits=self._limits,
            )
            yield from self._read_calls((yield from self._steps.next_request(schema)), decoder)
            was_added = len(self._calls.written) > number and not self._calls.loop
            goes_on = was_added and (yield from self._choose_another())

    @property
    def _exact_tools(self) -> Sequence[Tool]:
        """The tools whose schemas a grammar enforces as a whole."""
        return [
            tool
            for tool in self._tools
            if grammar_schema(JsonSchema(tool.parameters), self._limits).exact
        ]

    def _choose_another(self) -> Steps[bool]:
        """Let the model choose whether another call follows the last one."""
        another = "\n" + call_start().rstrip()
        end = f"{self._format.turn_end}{self._format.separator}{self._format.tool_header}"
        choice = Choice((end, another))
        if not self._use.parallel or (yield from self._steps.tokens_left()) < _LEAST_TOKENS:
            return False
        if not self._features.enforces(choice):
            return False
        self._steps.written = self._calls_start + escape(self._call_lines, self._format)
        request = yield from self._steps.next_request(choice)
        if (yield from self._choose(request, choice)) != another:
            return False
        self._steps.written += "\n"
        return True

    def _write_calls_unconstrained(self, tools: Sequence[Tool], *, several: bool) -> Steps[None]:
        """Have calls written whose form nothing enforces, after the beginning of the first."""
        start = call_start(tools[0].name if len(tools) == 1 else None).rstrip()
        self._steps.written += start
        decoder = self._decoder(tools, written=start, several=several)
        yield from self._read_calls((yield from self._steps.next_request()), decoder)

    def _read_calls(self, request: CompletionRequest, decoder: CallsDecoder) -> Steps[None]:
        reader = CompletionReader(request)
        while not decoder.ended and (chunk := (yield from reader.read())) is not None:
            yield from decoder.feed(chunk.text)
        yield from self._steps.end(reader)
        yield from self._end_calls(reader, decoder)

    def _end_calls(self, reader: CompletionReader, decoder: CallsDecoder) -> Steps[None]:
        """Take what is left of the calls; retry an invalid one."""
        cut = reader.finish == "length" and not decoder.ended
        yield from decoder.flush(cut=cut)
        self._cut = cut and (decoder.invalid is not None or not decoder.ended)
        if decoder.invalid is None:
            return
        if cut or decoder.emitted or not (yield from self._retries(decoder)):
            self._invalid.append(decoder.invalid)
            return
        named = tuple(tool for tool in self._tools if tool.name == decoder.invalid.name)
        schema = call_schema(named or self._tools, self._limits)
        if (
            not self._features.enforces(schema)
            or validate_json(decoder.invalid_text, schema.text)[1]
        ):
            yield from self._write_calls_unconstrained(named or self._tools, several=False)
            return
        again = self._decoder(self._tools, several=False, limits=self._limits)
        yield from self._read_calls((yield from self._steps.next_request(schema)), again)

    def _retries(self, decoder: CallsDecoder) -> Steps[bool]:
        """Show the model what is wrong with a call, as its result, and open another, once."""
        invalid, prompt_format = decoder.invalid, self._format
        if self._steps.attempts > 1 or invalid is None:
            return False
        lines = "\n".join(filter(None, (self._call_lines, decoder.invalid_text)))
        error = result_text(invalid.name, invalid.error, failed=True)
        return (
            yield from self._steps.retries(
                self._calls_start
                + escape(lines, prompt_format)
                + prompt_format.turn_end
                + prompt_format.turn("tool", escape(error, prompt_format))
                + prompt_format.open_turn("call")
            )
        )

    def _calls_reply(self) -> Reply:
        end = ReplyEnd(
            "length" if self._cut else "tool_calls",
            usage=self._steps.usage,
            invalid_tool_calls=tuple(self._invalid),
            attempts=self._steps.attempts,
        )
        return Reply("", end, tool_calls=tuple(self._calls.made))
