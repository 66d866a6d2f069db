"""Choice: which of a few texts a model finds most probable."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from urial_core.backends.completions_server.answer import completion_of, usage_of
from urial_core.backends.completions_server.discovery import Server
from urial_core.backends.completions_server.exchange import COMPLETIONS, Ask, Exchange
from urial_core.backends.completions_server.payload import completion_payload
from urial_core.backends.completions_server.tokens import KnownTokens, token_ids_of
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    TokenLogprob,
    Usage,
)
from urial_core.structured.constraints import Choice

__all__ = ["MOST_SCORED", "KnownChoices", "chosen"]

MOST_SCORED = 32
"""Choices of more options are left to the model's own way through them."""

_MOST_TOKENS = 128
"""Different tokens whose log-probabilities vLLM tells."""
_MOST_KNOWN = 64


class KnownChoices:
    """Choices, of which the last few without biases are known.

    Those are where a model's leaning is asked for, which each reply with the same tools does.
    """

    def __init__(self, tokens: KnownTokens) -> None:
        self._tokens = tokens
        self._chosen = dict[tuple[str, tuple[str, ...]], Completion]()
        self._lock = threading.Lock()

    def of(
        self, request: CompletionRequest, choice: Choice, server: Server
    ) -> Exchange[Completion]:
        """Choose, or look up what was chosen; see ``chosen``."""
        if choice.biases:
            return (yield from chosen(request, choice, server, self._tokens))
        page = (request.prompt, choice.options)
        completion = self._chosen.get(page)
        if completion is None:
            completion = yield from chosen(request, choice, server, self._tokens)
            with self._lock:
                self._chosen[page] = completion
                if len(self._chosen) > _MOST_KNOWN:
                    del self._chosen[next(iter(self._chosen))]
        return completion


def chosen(
    request: CompletionRequest, choice: Choice, server: Server, tokens: KnownTokens
) -> Exchange[Completion]:
    """Take the most probable option, scores and biases added.

    Where the server does not tell scores, the model's own way through the options decides.

    Args:
        request: The page.
        choice: The options.
        server: The server.
        tokens: Texts' tokens that are known.
    """
    scored: _Scored | None = None
    if len(choice.options) <= MOST_SCORED:
        if server.dialect.tells_any_token:
            scored = yield from _looked_up(request, choice.options, server, tokens)
        else:
            scored = yield from _written(request, choice.options, server, tokens)
    if scored is not None:
        return _best(choice, scored)
    plain = _greedy(request, max(choice.options, key=len))
    body = completion_payload(plain, server.model, server.dialect)
    body = yield from tokens.put_in(body, server)
    return completion_of((yield Ask(COMPLETIONS, body)), plain, server.dialect)


@dataclass(frozen=True, slots=True)
class _Scored:
    """Each option's log-probability, and what it took to find them."""

    scores: Sequence[float]
    usage: Usage | None


def _written(
    request: CompletionRequest, options: Sequence[str], server: Server, tokens: KnownTokens
) -> Exchange[_Scored | None]:
    """Have each option written by force: a few tokens behind a page that is computed.

    llama.cpp reports each token's log-probability as it was before the force.
    """
    scores = list[float]()
    usage: Usage | None = None
    for option in options:
        forced = _forced(request, option)
        body = completion_payload(forced, server.model, server.dialect)
        body = yield from tokens.put_in(body, server)
        completion = completion_of((yield Ask(COMPLETIONS, body)), forced, server.dialect)
        usage = _with_output_of(usage, completion.usage)
        score = _logprob_of(option, completion.logprobs)
        if score is None:
            return None
        scores.append(score)
    return _Scored(scores, usage)


def _forced(request: CompletionRequest, option: str) -> CompletionRequest:
    greedy = _greedy(request, option)
    parameters = greedy.parameters.replace(logprobs=0)
    return replace(greedy, parameters=parameters, constraint=Choice((option,)))


def _greedy(request: CompletionRequest, longest: str) -> CompletionRequest:
    """The request with nothing in the way of the most probable text, written whole."""
    parameters = request.parameters.replace(
        max_tokens=len(longest.encode()) + 1,  # no token is shorter than a byte; one to end
        temperature=0.0,
        repetition_penalty=1.0,
        frequency_penalty=0.0,
        presence_penalty=0.0,
    )
    return replace(request, parameters=parameters)


def _logprob_of(option: str, tokens: Sequence[TokenLogprob]) -> float | None:
    """The sum over the tokens that make up the option; what ends it does not count."""
    text, total = "", 0.0
    for token in tokens:
        if len(text) >= len(option):
            break
        text += token.token
        total += token.logprob
    return total if text == option else None


def _looked_up(
    request: CompletionRequest, options: Sequence[str], server: Server, known: KnownTokens
) -> Exchange[_Scored | None]:
    """Ask what each option's tokens would score, each behind those before it, in one request.

    vLLM tells the log-probabilities of any few tokens; those of forced ones are after the force.
    """
    if not server.tokenizes:
        return None
    page = yield from known.of(request.prompt, server)
    written = list[tuple[int, ...]]()
    for option in options:
        written.append((yield from token_ids_of(option, server, begins=False)))
    tokens = sorted({token for option in written for token in option})
    if len(tokens) > _MOST_TOKENS:
        return None
    beginnings = list(dict.fromkeys(ids[:size] for ids in written for size in range(len(ids))))
    body = {
        "model": server.model,
        "prompt": [[*page, *beginning] for beginning in beginnings],
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": len(tokens),
        "logprob_token_ids": tokens,
        "return_tokens_as_token_ids": True,
    }
    answer = yield Ask(COMPLETIONS, body)
    told = _told(answer, beginnings)
    steps = [[(ids[:size], ids[size]) for size in range(len(ids))] for ids in written]
    if any(token not in told.get(beginning, {}) for step in steps for beginning, token in step):
        return None
    usage = usage_of(answer)
    cached = usage.cached_tokens if usage else 0  # of one of the prompts
    return _Scored(
        [sum(told[beginning][token] for beginning, token in step) for step in steps],
        Usage(len(page), len(beginnings), min(cached, len(page))),
    )


def _told(
    answer: Any, beginnings: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], dict[int, float]]:
    """What was told of each token, behind each beginning."""
    told = dict[tuple[int, ...], dict[int, float]]()
    for choice in answer.get("choices", ()) if isinstance(answer, Mapping) else ():
        [scores] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
        told[beginnings[choice["index"]]] = {
            int(name.removeprefix("token_id:")): value
            for name, value in scores.items()
            if name.startswith("token_id:")
        }
    return told


def _best(choice: Choice, scored: _Scored) -> Completion:
    scores = scored.scores
    biases = choice.biases or (0.0,) * len(scores)
    ranked = sorted(zip(choice.options, scores, strict=True), key=lambda pair: -pair[1])
    best = max(range(len(scores)), key=lambda number: scores[number] + biases[number])
    taken = TokenLogprob(choice.options[best], scores[best], tuple(ranked))
    return CompletionChunk(taken.token, finish="stop", usage=scored.usage, logprobs=(taken,))


def _with_output_of(usage: Usage | None, more: Usage | None) -> Usage | None:
    """The page counts once, as it was read the first time."""
    if usage is None or more is None:
        return more if usage is None else usage
    return replace(usage, output_tokens=usage.output_tokens + more.output_tokens)
