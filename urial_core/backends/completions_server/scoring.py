"""Scoring: the most probable of several texts, by log-probabilities; and the server's tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from urial_core.backends.completions_server.discovery import (
    COMPLETIONS,
    Exchange,
    Server,
    ServerRequest,
)
from urial_core.backends.completions_server.payload import completion_payload
from urial_core.backends.completions_server.response import completion_of, usage_of
from urial_core.completion import (
    Completion,
    CompletionChunk,
    CompletionRequest,
    TokenLogprob,
    Usage,
)
from urial_core.errors import UnsupportedModelError
from urial_core.structured.constraints import Choice

__all__ = ["MAX_SCORED_OPTIONS", "ChoiceScorer", "ServerTokenizer"]

MAX_SCORED_OPTIONS = 32
"""With more options than this, the model writes one under constraint instead."""

_MAX_SCORED_TOKENS = 128
"""Different tokens whose log-probabilities vLLM reports."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Cache(Generic[_K, _V]):
    """A cache of the newest entries, for any number of threads."""

    def __init__(self, size: int) -> None:
        self._entries = dict[_K, _V]()
        self._size = size
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        return self._entries.get(key)

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            self._entries[key] = value
            if len(self._entries) > self._size:
                del self._entries[next(iter(self._entries))]


class ServerTokenizer:
    """Encodes texts with the server's own tokenizer, each of the newest few hundred once."""

    def __init__(self) -> None:
        self._cache = _Cache[str, tuple[int, ...]](512)

    def encode_prompt(self, text: str, server: Server) -> Exchange[tuple[int, ...]]:
        """Return the token ids of a prompt, the begin-of-text token included."""
        ids = self._cache.get(text)
        if ids is None:
            ids = yield from self.encode(text, server)
            self._cache.put(text, ids)
        return ids

    def encode_body(self, body: dict[str, Any], server: Server) -> Exchange[dict[str, Any]]:
        """Return a body with its prompt as token ids, where special tokens stay text that way."""
        if not (server.tokenizes and server.dialect.tokenizes_as_text):
            return body
        ids = yield from self.encode_prompt(body["prompt"], server)
        return {**body, "prompt": list(ids)}

    @staticmethod
    def encode(text: str, server: Server, *, begin: bool = True) -> Exchange[tuple[int, ...]]:
        """Return the token ids of a text.

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
        response = yield ServerRequest(f"{server.root}/tokenize", body)
        return tuple(response["tokens"])


class ChoiceScorer:
    """Chooses among texts; the newest choices without biases are cached.

    Those are the choices for calibration, which every reply with the same tools repeats.
    """

    def __init__(self, tokenizer: ServerTokenizer) -> None:
        self._tokenizer = tokenizer
        self._cache = _Cache[tuple[str, tuple[str, ...]], Completion](64)

    def choose(
        self, request: CompletionRequest, choice: Choice, server: Server
    ) -> Exchange[Completion]:
        """Return the option with the highest sum of log-probability and bias.

        Where the server reports no log-probabilities, the model writes an option under constraint.
        """
        key = (request.prompt, choice.options)
        completion = None if choice.biases else self._cache.get(key)
        if completion is None:
            completion = yield from self._chosen(request, choice, server)
            if not choice.biases:
                self._cache.put(key, completion)
        return completion

    def _chosen(
        self, request: CompletionRequest, choice: Choice, server: Server
    ) -> Exchange[Completion]:
        options = choice.options
        scores: list[float] | None = None
        usage: Usage | None = None
        if len(options) <= MAX_SCORED_OPTIONS:
            score = self._look_up if server.dialect.scores_any_token else self._force
            scores, usage = yield from score(request, options, server)
        if scores is None:
            greedy = _greedy(request, max(options, key=len))
            return (yield from self._completed(greedy, server))
        biases = choice.biases or (0.0,) * len(scores)
        best = max(range(len(scores)), key=lambda index: scores[index] + biases[index])
        ranked = sorted(zip(options, scores, strict=True), key=lambda pair: -pair[1])
        logprob = TokenLogprob(options[best], scores[best], tuple(ranked))
        return CompletionChunk(options[best], finish="stop", usage=usage, logprobs=(logprob,))

    def _force(
        self, request: CompletionRequest, options: Sequence[str], server: Server
    ) -> Exchange[tuple[list[float] | None, Usage | None]]:
        """Score options by forcing each: a few tokens after a prompt in the prefix cache.

        llama.cpp reports each token's log-probability before the constraint.
        """
        scores = list[float]()
        usage: Usage | None = None
        for option in options:
            forced = replace(_greedy(request, option, logprobs=0), constraint=Choice((option,)))
            completion = yield from self._completed(forced, server)
            score = _logprob_of(option, completion.logprobs)
            if score is None:
                return None, None
            scores.append(score)
            if usage is None or completion.usage is None:
                usage = usage or completion.usage
            else:  # the prompt counts once, as it was read the first time
                written = usage.output_tokens + completion.usage.output_tokens
                usage = replace(usage, output_tokens=written)
        return scores, usage

    def _look_up(
        self, request: CompletionRequest, options: Sequence[str], server: Server
    ) -> Exchange[tuple[list[float] | None, Usage | None]]:
        """Score options by looking up each of their tokens, after those before it, in one request.

        vLLM reports the log-probabilities of any given tokens; those of forced tokens it reports
        only after the constraint.
        """
        if not server.tokenizes:
            return None, None
        prompt = yield from self._tokenizer.encode_prompt(request.prompt, server)
        encoded = list[tuple[int, ...]]()
        for option in options:
            encoded.append((yield from self._tokenizer.encode(option, server, begin=False)))
        tokens = sorted({token for ids in encoded for token in ids})
        if len(tokens) > _MAX_SCORED_TOKENS:
            return None, None
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
        response = yield ServerRequest(COMPLETIONS, body)
        found = _logprobs_after(prefixes, response)
        steps = [[(ids[:size], ids[size]) for size in range(len(ids))] for ids in encoded]
        if any(step not in found for option in steps for step in option):
            return None, None
        usage = usage_of(response)
        cached = usage.cached_tokens if usage else 0  # of one of the prompts
        return (
            [sum(found[step] for step in option) for option in steps],
            Usage(len(prompt), len(prefixes), min(cached, len(prompt))),
        )

    def _completed(self, request: CompletionRequest, server: Server) -> Exchange[Completion]:
        body = completion_payload(request, server.model, server.dialect)
        body = yield from self._tokenizer.encode_body(body, server)
        return completion_of((yield ServerRequest(COMPLETIONS, body)), request, server.dialect)


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


def _logprobs_after(
    prefixes: Sequence[tuple[int, ...]], response: Any
) -> dict[tuple[tuple[int, ...], int], float]:
    """Return the reported log-probabilities, by prefix and the token that follows it."""
    found = dict[tuple[tuple[int, ...], int], float]()
    for choice in response.get("choices", ()) if isinstance(response, Mapping) else ():
        [scores] = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
        for name, value in scores.items():
            if name.startswith("token_id:"):
                found[prefixes[choice["index"]], int(name.removeprefix("token_id:"))] = value
    return found
