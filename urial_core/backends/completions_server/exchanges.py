"""Exchanges with a server: what it is, its tokenizer, completions and choices. Pure.

An exchange is a generator, as httpx's ``auth_flow`` is: it yields the requests to send, receives
their responses, and returns its result. It is written once, and ``Connection`` runs it, blocking or
not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from urial_core.backends.completions_server.payload import (
    GENERIC,
    LLAMA_CPP,
    VLLM,
    Dialect,
    completion_payload,
)
from urial_core.backends.completions_server.response import completions_of, usage_of
from urial_core.backends.completions_server.shape import checked
from urial_core.completion import Completion, CompletionRequest, TokenLogprob, Usage
from urial_core.decoding.steps import total_usage
from urial_core.errors import ServerError, UnsupportedModelError, shown
from urial_core.prompts.escaping import encodable
from urial_core.structured.constraints import Choice

__all__ = [
    "COMPLETIONS",
    "MAX_SCORED_OPTIONS",
    "MISSING",
    "Exchange",
    "HttpRequest",
    "Server",
    "choice_of",
    "complete",
    "discover",
    "encode",
    "request_body",
    "shares_requests",
]

COMPLETIONS = "/completions"
"""The path that completes a prompt."""

MISSING = (400, 404, 405, 422, 501)
"""Statuses of a server that lacks a path."""

_LACKING = (*MISSING, 401, 403)  # a gateway may forbid a path that it does not pass on
_LASTING = (*_LACKING, 500)  # others pass: 429, or 503 of a server that starts

MAX_SCORED_OPTIONS = 32
"""With more options than this, the model writes one under constraint instead."""

_MAX_SCORED_TOKENS = 128
"""Different tokens whose log-probabilities vLLM reports."""

_REFUSED = (400, 422)
_REFUSES_LISTS = "refuses lists of prompts"

_MAX_CACHED = 512  # the oldest results are dropped
_T = TypeVar("_T")
_Scores = tuple[list[float], Usage | None]
"""Each option's log-probability, and the tokens that it took to find them."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        body: The JSON to post, as Python objects; None for a GET.
        url: A path below the API's base URL, or an absolute URL. Default: a completion's.
        optional: Statuses of errors that are none here; the response is then None, as it is for
            one that is no JSON.
    """

    body: Mapping[str, Any] | None
    url: str = COMPLETIONS
    optional: Collection[int] = ()


Exchange = Generator[HttpRequest, Any, _T]
"""Yields requests, receives their responses as Python objects, and returns its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is known of a server.

    Attributes:
        dialect: Which request fields it understands.
        model: The name of the model in use.
        root: The URL in front of the API's ``/v1``.
        window: The context window in tokens, prompt and reply together; None if not reported.
        tokenizes: Whether it offers its tokenizer.
        added_at_end: How many tokens its tokenizer adds after a text, which a prompt must not have.
        slots: llama.cpp's number of concurrent requests, each with a prefix cache of its own; 0
            for other servers.
        cache: What it has computed that stays the same, such as a text's tokens; see ``_once``.
    """

    dialect: Dialect
    model: str
    root: str
    window: int | None = None
    tokenizes: bool = False
    added_at_end: int = 0
    slots: int = 0
    cache: OrderedDict[Hashable, Any] = field(
        default_factory=OrderedDict, repr=False, compare=False
    )


def discover(base_url: str, model: str | None, dialect: Dialect | None) -> Exchange[Server]:
    """Find out what a server is.

    A path that is missing is no error, and neither is any other failure of one whose report was
    given. A tokenizer that fails is one: without it, special tokens could be injected by prompts.

    Args:
        base_url: The API's base URL.
        model: The model to use; None for the first one that the server lists.
        dialect: Its dialect; None to detect it.

    Raises:
        UnsupportedModelError: It serves another model, or lists none.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    asked = HttpRequest(None, "/models", optional=_LASTING if model and dialect else MISSING)
    models = _mapping((yield asked)).get("data")
    entries = [
        entry
        for entry in (models if isinstance(models, list) else ())
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), str) and entry["id"]
    ]
    owner = entries[0].get("owned_by") if entries else None
    if dialect is None and owner == "vllm":
        dialect = VLLM
    props: Mapping[str, Any] = {}
    if dialect is None or dialect.slots:
        asked = HttpRequest(None, f"{root}/props", optional=_LASTING if dialect else _LACKING)
        props = _mapping((yield asked))
        if dialect is None and (owner == "llamacpp" or "total_slots" in props):
            dialect = LLAMA_CPP
    dialect = dialect or GENERIC
    entry = _entry_of(model, entries, base_url, strict=dialect is not GENERIC)
    window = entry.get("max_model_len")
    if dialect.slots:
        settings = _mapping(props.get("default_generation_settings"))
        window = settings.get("n_ctx") or _mapping(entry.get("meta")).get("n_ctx")
    slots = props.get("total_slots")
    tokenized = None
    # An empty text's tokens are those added to each: one before it, and one after it at most.
    text = "" if dialect.tokenizes_as_text else "a"
    if dialect.tokenize is not None:
        body = {"model": entry["id"], **dialect.tokenize(text, True)}
        tokenized = yield HttpRequest(body, f"{root}/tokenize", optional=_LACKING)
    added = _mapping(tokenized).get("tokens")
    return Server(
        dialect=dialect,
        model=entry["id"],
        root=root,
        window=window if isinstance(window, int) and window > 0 else None,
        tokenizes="tokens" in _mapping(tokenized),
        added_at_end=max(len(added) - 1, 0) if isinstance(added, list) and not text else 0,
        slots=slots if isinstance(slots, int) else 0,
    )


def encode(text: str, server: Server, *, begin: bool = True) -> Exchange[list[int]]:
    """Return the token ids of a text by the server's own tokenizer.

    Args:
        text: The text.
        server: The server.
        begin: Whether the begin-of-text token precedes the text.

    Raises:
        UnsupportedModelError: The server does not offer its tokenizer.
    """
    return (yield from _once(server, (text, begin), _tokenize(text, server, begin=begin)))


def request_body(
    request: CompletionRequest, server: Server, *, stream: bool = False
) -> Exchange[dict[str, Any]]:
    """Return a request's body, with its prompt as token ids where special tokens stay text then."""
    body = completion_payload(request, server.model, server.dialect, stream=stream)
    if server.tokenizes and server.dialect.tokenizes_as_text:
        body["prompt"] = yield from encode(request.prompt, server)
    return body


def choice_of(request: CompletionRequest, server: Server) -> Choice | None:
    """Return the request's choice, if it has one and the server can be constrained to it."""
    constraint = request.constraint if server.dialect.choice is not None else None
    return constraint if isinstance(constraint, Choice) else None


def complete(requests: Sequence[CompletionRequest], server: Server) -> Exchange[list[Completion]]:
    """Complete requests that differ only in their prompts; a choice comes alone.

    Where the server refuses a list of prompts, each is sent by itself, from then on from the start.

    A choice is the option with the highest sum of log-probability and bias. Where the server
    reports no log-probabilities, the model writes an option under constraint. Choices without
    biases are cached: every reply with the same tools repeats them for its calibration.
    """
    choice = choice_of(requests[0], server)
    if choice is None:
        return (yield from _complete(requests, server))
    [request] = requests
    greedy = _greedy(request, max(choice.options, key=len))
    chosen = _choose(greedy, choice, server)
    if choice.biases:
        return [(yield from chosen)]
    return [(yield from _once(server, (request.prompt, choice.options), chosen))]


def shares_requests(request: CompletionRequest, server: Server) -> bool:
    """Return whether a completion may be requested together with others, as a list of prompts."""
    lists = server.dialect.prompt_lists and _REFUSES_LISTS not in server.cache
    return lists and choice_of(request, server) is None


def _once(server: Server, key: Hashable, exchange: Exchange[_T]) -> Exchange[_T]:
    """Return an exchange's result from the server's cache, or run it and cache the result."""
    result: _T | None = server.cache.get(key)
    if result is None:
        result = server.cache[key] = yield from exchange
        if len(server.cache) > _MAX_CACHED:
            server.cache.popitem(last=False)
    return result


def _entry_of(
    model: str | None, entries: list[Mapping[str, Any]], base_url: str, *, strict: bool
) -> Mapping[str, Any]:
    """Return the model's entry in the server's list.

    Raises:
        UnsupportedModelError: There is no such entry. A generic server may know models that it does
            not list; llama.cpp would answer to any name.
    """
    for entry in entries:
        aliases = entry.get("aliases")
        if model in (entry["id"], *(aliases if isinstance(aliases, list) else ())):
            return {**entry, "id": model}
    if model is None and entries and (strict or len(entries) == 1):
        return entries[0]
    if model is not None and not (strict and entries):
        return {"id": model}
    names = ", ".join(repr(entry["id"]) for entry in entries[:8]) or "models that it does not list"
    raise UnsupportedModelError(
        f"model is {model!r}, and the server at {base_url} serves {names}: pass model='name', with "
        "the name of one of these."
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tokenize(text: str, server: Server, *, begin: bool) -> Exchange[list[int]]:
    if server.dialect.tokenize is None:
        raise UnsupportedModelError(f"The server at {server.root} offers no tokenizer.")
    body = {"model": server.model, **server.dialect.tokenize(encodable(text), begin)}
    response = yield HttpRequest(body, f"{server.root}/tokenize")
    ids = _mapping(response).get("tokens")
    if not isinstance(ids, list) or not all(isinstance(token, int) for token in ids):
        raise ServerError(
            f"The server at {server.root} answered {shown(response)} to a request for a "
            "text's tokens: it must be {'tokens': [...]}. Read the server's log."
        )
    return ids[: len(ids) - server.added_at_end] if begin else ids


def _complete(requests: Sequence[CompletionRequest], server: Server) -> Exchange[list[Completion]]:
    body = yield from request_body(requests[0], server)
    if len(requests) == 1:
        return completions_of((yield HttpRequest(body)), requests, server.dialect)
    body["prompt"] = [request.prompt for request in requests]
    response = yield HttpRequest(body, optional=_REFUSED)
    if response is not None:
        return completions_of(response, requests, server.dialect)
    completions = list[Completion]()
    for request in requests:
        completions += yield from _complete([request], server)
    server.cache[_REFUSES_LISTS] = True  # each by itself was accepted
    return completions


def _choose(request: CompletionRequest, choice: Choice, server: Server) -> Exchange[Completion]:
    options = choice.options
    scored: _Scores | None = None
    if len(options) <= MAX_SCORED_OPTIONS:
        score = _look_up if server.dialect.scores_any_token else _force
        scored = yield from score(request, options, server)
    if scored is None:
        return (yield from _complete([request], server))[0]
    scores, usage = scored
    biases = choice.biases or (0.0,) * len(scores)
    best = max(range(len(scores)), key=lambda index: scores[index] + biases[index])
    ranked = sorted(zip(options, scores, strict=True), key=lambda pair: -pair[1])
    logprob = TokenLogprob(options[best], scores[best], tuple(ranked))
    return Completion(options[best], finish="stop", usage=usage, logprobs=(logprob,))


def _force(
    request: CompletionRequest, options: Sequence[str], server: Server
) -> Exchange[_Scores | None]:
    """Score options by forcing each: a few tokens after a prompt in the prefix cache.

    llama.cpp reports each token's log-probability before the constraint. The prompt is read first:
    a token that is read alone gets other log-probabilities than one read among others (by 0.2 in a
    quantized model), so all options follow a prompt that is read alike, on each call.
    """
    yield from _complete([replace(_greedy(request, ""), constraint=None)], server)
    scores = list[float]()
    usages = list[Usage | None]()
    for option in options:
        forced = replace(_greedy(request, option, logprobs=0), constraint=Choice((option,)))
        [completion] = yield from _complete([forced], server)
        score = _logprob_of(option, completion.logprobs)
        if score is None:
            return None
        scores.append(score)
        usages.append(completion.usage)
    return scores, total_usage(usages)


def _look_up(
    request: CompletionRequest, options: Sequence[str], server: Server
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
    response = checked((yield HttpRequest(body)))
    found = dict[tuple[tuple[int, ...], str], float]()  # by prefix and the token that follows it
    for choice in response.get("choices") or ():
        first, *_ = (choice.get("logprobs") or {}).get("top_logprobs") or [None]
        if (index := choice.get("index")) in range(len(prefixes)):
            known = {token: value for token, value in (first or {}).items() if value is not None}
            found |= {(prefixes[index], token): value for token, value in known.items()}
    steps = [[(ids[:size], f"token_id:{ids[size]}") for size in range(len(ids))] for ids in encoded]
    if any(step not in found for option in steps for step in option):
        return None
    usage = usage_of(response)
    cached = usage.cached_tokens if usage else None  # of one of the prompts
    cached = None if cached is None else min(cached, len(prompt))
    usage = Usage(len(prompt), len(prefixes), cached)
    return [sum(found[step] for step in option) for option in steps], usage


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
