"""Scoring: the most probable of several texts, by log-probabilities; and the server's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from urial_core.backends.completions_server.discovery import Exchange, HttpRequest, Server
from urial_core.backends.completions_server.payload import completion_payload
from urial_core.backends.completions_server.response import completion_of, usage_of
from urial_core.completion import Completion, CompletionRequest, TokenLogprob, Usage
from urial_core.errors import UnsupportedModelError
from urial_core.structured.constraints import Choice

__all__ = ["MAX_SCORED_OPTIONS", "choose", "encode", "encode_prompt"]

MAX_SCORED_OPTIONS = 32
"""With more options than this, the model writes one under constraint instead."""

_MAX_SCORED_TOKENS = 128
"""Different tokens whose log-probabilities vLLM reports."""

_Scores = tuple[list[float], Usage | None]
"""Each option's log-probability, and the tokens that it took to find them."""


def encode(text: str, server: Server, *, begin: bool = True) -> Exchange[list[int]]:
    """Return the token ids of a text by the server's own tokenizer.

    Args:
        text: The text.
        server: The server.
        begin: Whether the begin-of-text token precedes the text.

    Raises:
        UnsupportedModelError: The server does not offer its tokenizer.
    """
    if server.dialect.tokenize is None:
        raise UnsupportedModelError(f"The server at {server.root} offers no tokenizer.")
    body = {"model": server.model, **server.dialect.tokenize(text, begin)}
    response = yield HttpRequest(body, f"{server.root}/tokenize", cacheable=True)
    return list(response["tokens"])


def encode_prompt(body: dict[str, Any], server: Server) -> Exchange[dict[str, Any]]:
    """Return a request body with its prompt as token ids, where special tokens stay text then."""
    if not (server.tokenizes and server.dialect.tokenizes_as_text):
        return body
    return {**body, "prompt": (yield from encode(body["prompt"], server))}


def choose(request: CompletionRequest, choice: Choice, server: Server) -> Exchange[Completion]:
    """Return the option with the highest sum of log-probability and bias.

    Where the server reports no log-probabilities, the model writes an option under constraint.
    Choices without biases are cacheable: every reply with the same tools repeats them for its
    calibration.
    """
    options, cacheable = choice.options, not choice.biases
    scored: _Scores | None = None
    if len(options) <= MAX_SCORED_OPTIONS:
        score = _look_up if server.dialect.scores_any_token else _force
        scored = yield from score(request, options, server, cacheable=cacheable)
    if scored is None:
        greedy = _greedy(request, max(options, key=len))
        return (yield from _completed(greedy, server, cacheable=cacheable))
    scores, usage = scored
    biases = choice.biases or (0.0,) * len(scores)
    best = max(range(len(scores)), key=lambda index: scores[index] + biases[index])
    ranked = sorted(zip(options, scores, strict=True), key=lambda pair: -pair[1])
    logprob = TokenLogprob(options[best], scores[best], tuple(ranked))
    return Completion(options[best], finish="stop", usage=usage, logprobs=(logprob,))


def _force(
    request: CompletionRequest, options: Sequence[str], server: Server, *, cacheable: bool
) -> Exchange[_Scores | None]:
    """Score options by forcing each: a few tokens after a prompt in the prefix cache.

    llama.cpp reports each token's log-probability before the constraint.
    """
    scores = list[float]()
    usage: Usage | None = None
    for option in options:
        forced = replace(_greedy(request, option, logprobs=0), constraint=Choice((option,)))
        completion = yield from _completed(forced, server, cacheable=cacheable)
        score = _logprob_of(option, completion.logprobs)
        if score is None:
            return None
        scores.append(score)
        if usage is None or completion.usage is None:
            usage = usage or completion.usage
        else:  # the prompt counts once, as it was read the first time
            written = usage.output_tokens + completion.usage.output_tokens
            usage = replace(usage, output_tokens=written)
    return scores, usage


def _look_up(
    request: CompletionRequest, options: Sequence[str], server: Server, *, cacheable: bool
) -> Exchange[_Scores | None]:
    """Score options by looking up each of their tokens, after those before it, in one request.

    vLLM reports the log-probabilities of any given tokens; those of forced tokens it reports only
    after the constraint.
    """
    if not server.tokenizes:
        return None
    prompt = yield from encode(request.prompt, server)
    encoded = list[tuple[int, ...]]()
    for option in options:
        encoded.append(tuple((yield from encode(option, server, begin=False))))
    tokens = sorted({token for ids in encoded for token in ids})
    if len(tokens) > _MAX_SCORED_TOKENS:
        return None
    prefixes = list(dict.fromkeys(ids[:size] for ids in encoded for size in range(len(ids))))
    body = {
        "model": server.model,
        "prompt": [[*prompt, *prefix] for prefix in prefixes],
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": len(tokens),
        "logprob_token_ids": tokens,
        "return_tokens_as_token_ids": True,
    }
    response = yield HttpRequest(body, cacheable=cacheable)
    found = dict[tuple[tuple[int, ...], str], float]()  # by prefix and the token that follows it
    for choice in response.get("choices", ()) if isinstance(response, Mapping) else ():
        [logprobs] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
        prefix = prefixes[choice["index"]]
        found |= {(prefix, token): logprob for token, logprob in logprobs.items()}
    steps = [[(ids[:size], f"token_id:{ids[size]}") for size in range(len(ids))] for ids in encoded]
    if any(step not in found for option in steps for step in option):
        return None
    usage = usage_of(response)
    cached = usage.cached_tokens if usage else 0  # of one of the prompts
    usage = Usage(len(prompt), len(prefixes), min(cached, len(prompt)))
    return [sum(found[step] for step in option) for option in steps], usage


def _completed(
    request: CompletionRequest, server: Server, *, cacheable: bool
) -> Exchange[Completion]:
    body = completion_payload(request, server.model, server.dialect)
    body = yield from encode_prompt(body, server)
    response = yield HttpRequest(body, cacheable=cacheable)
    return completion_of(response, request, server.dialect)


def _greedy(
    request: CompletionRequest, longest: str, logprobs: int | None = None
) -> CompletionRequest:
    """Return the request for the most probable text, without penalties, written to its end."""
    parameters = request.parameters.replace(
        max_tokens=len(longest.encode()) + 1,  # no token is shorter than a byte; one to end
        temperature=0.0,
        repetition_penalty=1.0,
        frequency_penalty=0.0,
        presence_penalty=0.0,
        logprobs=logprobs,
    )
    return replace(request, parameters=parameters)


def _logprob_of(option: str, tokens: Sequence[TokenLogprob]) -> float | None:
    """Return the sum over the option's tokens, without the token that ends it."""
    text, total = "", 0.0
    for token in tokens:
        if len(text) >= len(option):
            break
        text += token.token
        total += token.logprob
    return total if text == option else None
