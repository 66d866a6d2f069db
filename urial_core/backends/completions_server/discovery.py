"""Discovery: which dialect, model, context window and tokenizer a server has.

An exchange with a server is a generator, as httpx's ``auth_flow`` is: it yields the requests to
send, receives their responses, and returns its result. It is written once, and ``Connection`` runs
it, blocking or not.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from urial_core.backends.completions_server.payload import GENERIC, LLAMA_CPP, VLLM, Dialect
from urial_core.errors import UnsupportedModelError

__all__ = ["COMPLETIONS", "Exchange", "HttpRequest", "Server", "discover"]

COMPLETIONS = "/completions"
"""The path that completes a prompt."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        body: The JSON to post, as Python objects; None for a GET.
        url: A path below the API's base URL, or an absolute URL. Default: a completion's.
        optional: Whether the server may lack this path; the response is then None.
        cacheable: Whether the response is always the same, so that it need not be sent twice.
    """

    body: Mapping[str, Any] | None
    url: str = COMPLETIONS
    optional: bool = False
    cacheable: bool = False


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
        slots: llama.cpp's number of concurrent requests, each with a prefix cache of its own; 0
            for other servers.
    """

    dialect: Dialect
    model: str
    root: str
    window: int | None = None
    tokenizes: bool = False
    slots: int = 0


def discover(base_url: str, model: str | None, dialect: Dialect | None) -> Exchange[Server]:
    """Find out what a server is.

    Args:
        base_url: The API's base URL.
        model: The model to use; None for the first one that the server lists.
        dialect: Its dialect; None to detect it.

    Raises:
        UnsupportedModelError: It serves another model, or lists none.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    models = _mapping((yield HttpRequest(None, "/models", optional=True))).get("data")
    entries = [
        entry
        for entry in (models if isinstance(models, list) else ())
        if isinstance(entry, Mapping) and entry.get("id")
    ]
    owner = entries[0].get("owned_by") if entries else None
    if dialect is None and owner == "vllm":
        dialect = VLLM
    props: Mapping[str, Any] = {}
    if dialect is None or dialect.slots:
        props = _mapping((yield HttpRequest(None, f"{root}/props", optional=True)))
        if dialect is None and (owner == "llamacpp" or "total_slots" in props):
            dialect = LLAMA_CPP
    dialect = dialect or GENERIC
    entry = _entry_of(model, entries, base_url, strict=dialect is not GENERIC)
    window = entry.get("max_model_len")
    if dialect.slots:
        settings = _mapping(props.get("default_generation_settings"))
        window = settings.get("n_ctx") or _mapping(entry.get("meta")).get("n_ctx")
    tokenized = None
    if dialect.tokenize is not None:
        body = {"model": entry["id"], **dialect.tokenize("a", True)}
        tokenized = yield HttpRequest(body, f"{root}/tokenize", optional=True)
    return Server(
        dialect=dialect,
        model=entry["id"],
        root=root,
        window=window if isinstance(window, int) and window > 0 else None,
        tokenizes="tokens" in _mapping(tokenized),
        slots=props.get("total_slots") or 0,
    )


def _entry_of(
    model: str | None, entries: list[Mapping[str, Any]], base_url: str, *, strict: bool
) -> Mapping[str, Any]:
    """Return the model's entry in the server's list.

    Raises:
        UnsupportedModelError: There is no such entry. A generic server may know models that it does
            not list; llama.cpp would answer to any name.
    """
    for entry in entries:
        if model in (entry["id"], *(entry.get("aliases") or ())):
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
