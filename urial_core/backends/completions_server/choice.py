"""Choice: which of a few texts a model finds most probable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from urial_core.backends.completions_server.answer import completion_of
from urial_core.backends.completions_server.discovery import Server
from urial_core.backends.completions_server.exchange import COMPLETIONS, Ask, Exchange
from urial_core.backends.completions_server.payload import completion_payload
from urial_core.completion import Completion, CompletionChunk, TokenLogprob, Usage
from urial_core.constraint import Choice
from urial_core.request import Request

__all__ = ["MOST_SCORED", "chosen"]

MOST_SCORED = 32
"""Choices of more options are left to the model's own way through them."""


def chosen(request: Request, choice: Choice, server: Server) -> Exchange[Completion]:
    """Take the most probable option, scores and offsets added.

    Each option is written once, by force: a few tokens behind a page that the server has computed.
    The log-probabilities of those tokens, which servers report as they were before the force, add
    up to the option's. Where they do not come, the model's own way decides.
    """
    scores = list[float]()
    usage: Usage | None = None
    for option in choice.options if len(choice.options) <= MOST_SCORED else ():
        forced = _forced(request, option)
        body = completion_payload(forced, server.model, server.dialect)
        completion = completion_of((yield Ask(COMPLETIONS, body)), forced, server.dialect)
        usage = _with_output_of(usage, completion.usage)
        score = _logprob_of(option, completion.logprobs)
        if score is None:
            break
        scores.append(score)
    if len(scores) == len(choice.options):
        return _best(choice, scores, usage)
    plain = replace(request, parameters=request.parameters.replace(temperature=0.0))
    body = completion_payload(plain, server.model, server.dialect)
    return completion_of((yield Ask(COMPLETIONS, body)), plain, server.dialect)


def _forced(request: Request, option: str) -> Request:
    parameters = request.parameters.replace(
        max_tokens=len(option.encode()) + 1,  # no token is shorter than a byte; one to end
        temperature=0.0,
        repetition_penalty=1.0,
        frequency_penalty=0.0,
        presence_penalty=0.0,
        logprobs=0,
    )
    return replace(request, parameters=parameters, constraint=Choice((option,)))


def _logprob_of(option: str, tokens: Sequence[TokenLogprob]) -> float | None:
    """The sum over the tokens that make up the option; what ends it does not count."""
    text, total = "", 0.0
    for token in tokens:
        if len(text) >= len(option):
            break
        text += token.token
        total += token.logprob
    return total if text == option else None


def _best(choice: Choice, scores: Sequence[float], usage: Usage | None) -> Completion:
    offsets = choice.offsets or (0.0,) * len(scores)
    ranked = sorted(zip(choice.options, scores, strict=True), key=lambda pair: -pair[1])
    best = max(range(len(scores)), key=lambda number: scores[number] + offsets[number])
    taken = TokenLogprob(choice.options[best], scores[best], tuple(ranked))
    return CompletionChunk(taken.token, finish="stop", usage=usage, logprobs=(taken,))


def _with_output_of(usage: Usage | None, more: Usage | None) -> Usage | None:
    """The page counts once, as it was read the first time."""
    if usage is None or more is None:
        return more if usage is None else usage
    return replace(usage, output_tokens=usage.output_tokens + more.output_tokens)
