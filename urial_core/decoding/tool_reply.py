"""A reply that may call tools: decide, then answer or write calls.

    answer or call? --> the answer, as without tools
                    --> which tool? --> its arguments --> one more call? --> ...

A model that holds to constraints takes these as steps of their own, so that tool, arguments and
form are right by construction. Any other writes header and calls in one go. Calls are checked when
they are whole, and one that cannot be made is written anew, once, below what was wrong with it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from urial_core.completion import CompletionChunk, CompletionModel, TokenLogprob
from urial_core.composing import ReplyRequest, format_of
from urial_core.decoding.call_steps import CallSteps
from urial_core.decoding.header_decoder import HeaderDecoder
from urial_core.decoding.json_reply import JsonReply
from urial_core.decoding.making import Delta
from urial_core.decoding.stepped import Steps
from urial_core.decoding.text_reply import ReplyAssembler
from urial_core.prompts.turns import write_response_format
from urial_core.replies import Reply, ReplyEnd
from urial_core.structured.constraints import Choice

__all__ = ["ToolReply"]


class ToolReply(CallSteps):
    """Makes the events of a reply that may call tools."""

    def __init__(self, model: CompletionModel, request: ReplyRequest, *, live: bool) -> None:
        self._answer: ReplyAssembler | JsonReply | None = None
        super().__init__(model, request, live=live)

    def whole(self) -> Reply:
        """Return all of it as one reply."""
        logprobs = self._answer.whole().logprobs if self._answer else ()
        return Reply(self._text, self._end(), logprobs, tuple(self._calls))

    @property
    def _text(self) -> str:
        return self._answer.whole().text if self._answer else ""

    def _end(self) -> ReplyEnd:
        if self._answer:
            return replace(self._answer.whole().end, usage=self._spent)
        return ReplyEnd(
            reason="length" if self._cut_off else "tool_calls",
            usage=self._spent,
            invalid_tool_calls=tuple(self._invalid),
        )

    def _run(self) -> Steps:
        if self._use.must_call:
            yield from self._write_calls()
        else:
            yield from self._decide()

    def _calibrate(self) -> Generator[ReplyRequest, None, Choice]:
        """Find how the model leans where nothing is asked, and take that off the decision."""
        decision = self._request.constraint
        assert isinstance(decision, Choice)
        leanings = list[float]()
        answer, call = decision.options

        def take(chunk: CompletionChunk) -> Sequence[Delta]:
            scores = dict(chunk.logprobs[-1].top) if chunk.logprobs else {}
            if answer in scores and call in scores:
                leanings.append(scores[call] - scores[answer])
            return ()

        if self._model.features.scores_choices:
            self._is_counted = False
            if page := self._request.content_free_prompt:
                self._take = take
                yield replace(self._step(constraint=Choice(decision.options)), prompt=page)
            self._is_counted = True
        if not leanings:
            return decision
        return Choice(decision.options, (0.0, -leanings[0]))

    def _decide(self) -> Steps:
        """Have an answer or a call chosen and written."""
        decision = yield from self._calibrate()
        chosen = None
        if self._model.features.enforces(decision):
            chosen = yield from self._ask(replace(self._request, constraint=decision), decision)
        if chosen is None:
            yield from self._open_freely()
        elif chosen == decision.options[0]:
            yield from self._write_answer()
        else:
            self._written = self._call_opening
            yield from self._write_calls()

    def _open_freely(self) -> Steps:
        """Let the model open an answer or a call, and go on with what it opened."""
        opening = HeaderDecoder(format_of(self._request))
        answer = ReplyAssembler(self._model, replace(self._request, prompt="", constraint=None))
        answer.next_attempt()
        logprobs = list[TokenLogprob]()

        def take(text: str, chunk: CompletionChunk) -> Sequence[Delta]:
            logprobs.extend(chunk.logprobs)
            return pass_on(opening.feed(text), chunk)

        def pass_on(text: str, chunk: CompletionChunk) -> Sequence[Delta]:
            if opening.kind == "call" and text:
                return self._read_calls(text)
            if opening.kind == "assistant" and self._request.response_format:
                self.over = True  # the answer is asked for by itself, to be held to its form
            elif opening.kind == "assistant":
                self._answer = answer
                known = _last(logprobs, len(text))
                deltas = answer.feed(replace(chunk, text=text, logprobs=known))
                self.over = answer.over
                if text:
                    logprobs.clear()
                return deltas
            return ()

        self._start_reading()
        yield from self._read(replace(self._request, constraint=None), take)
        self._unsent += pass_on(opening.flush(), CompletionChunk(""))
        if opening.kind == "call":
            self._written = self._call_opening
            yield from self._after_reading() if self._has_read else self._write_calls()
        elif (
            self._request.response_format or answer.next_attempt() is not None
        ):  # none yet, or a blank one
            yield from self._write_answer()
        else:
            self._unsent += answer.held_back()

    def _write_answer(self) -> Steps:
        """Have the answer written in a section that we open."""
        prompt_format, parameters = format_of(self._request), self._request.parameters
        self._written = prompt_format.open_turn("assistant").removeprefix(prompt_format.separator)
        rule = write_response_format(self._request.response_format, prompt_format)
        opened = (rule + prompt_format.open_turn("assistant")).removeprefix(prompt_format.separator)
        request = replace(
            self._request,
            prompt=self._request.prompt + opened,
            stop=(*prompt_format.stop, *parameters.stop),
            parameters=replace(parameters, max_tokens=max(self._tokens_left, 1)),
            constraint=self._request.response_format.with_additional_properties_forbidden()
            if self._request.response_format
            else None,
            tools=None,
        )
        answer = self._answer = (
            JsonReply(self._model, request, live=self._live)
            if request.response_format
            else ReplyAssembler(self._model, request)
        )

        def take(chunk: CompletionChunk) -> Sequence[Delta]:
            deltas = answer.feed(chunk)
            self.over = answer.over
            return deltas

        while (attempt := answer.next_attempt()) is not None:
            self._take = take
            yield attempt
        self._unsent += answer.held_back()


def _last(logprobs: Sequence[TokenLogprob], characters: int) -> tuple[TokenLogprob, ...]:
    """The last tokens, as many as these characters have."""
    start = len(logprobs)
    while start and characters > 0:
        start -= 1
        characters -= len(logprobs[start].token)
    return tuple(logprobs[start:])
