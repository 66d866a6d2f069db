"""Discovery: what a server is, what it serves, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from urial_core.backends.completions_server.dialect import GENERIC, LLAMA_CPP, VLLM, Dialect
from urial_core.backends.completions_server.exchange import Ask, Exchange
from urial_core.backends.completions_server.urls import server_root
from urial_core.errors import UnsupportedModelError

__all__ = ["Server", "discover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is known of a server.

    Attributes:
        dialect: How it is spoken to.
        model: The model in use.
        root: The URL in front of the API's ``/v1``.
        window: Tokens of one request, prompt and reply together; None if it does not say.
        tokenizes: Whether it tells a text's tokens.
        slots: How many requests llama.cpp writes at once, each with a state of its own; else 0.
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
        model: The model that is wanted; None for the first that the server names.
        dialect: How it is spoken to, if that is known.

    Raises:
        UnsupportedModelError: It serves another model, or names none.
    """
    root = server_root(base_url)
    entries = _entries((yield Ask("/models", optional=True)))
    owner = entries[0].get("owned_by") if entries else None
    if dialect is None and owner == "vllm":
        dialect = VLLM
    props: Mapping[str, Any] = {}
    if dialect is None or dialect.slots:
        props = _mapping((yield Ask(f"{root}/props", optional=True)))
        if dialect is None and (owner == "llamacpp" or "total_slots" in props):
            dialect = LLAMA_CPP
    dialect = dialect or GENERIC
    entry = _entry(entries, model, base_url, strict=dialect is not GENERIC)
    window = entry.get("max_model_len")
    if dialect.slots:
        settings = _mapping(props.get("default_generation_settings"))
        window = settings.get("n_ctx") or _mapping(entry.get("meta")).get("n_ctx")
    tokenized = None
    if dialect.tokenize is not None:
        body = {"model": entry["id"], **dialect.tokenize("a", True)}
        tokenized = yield Ask(f"{root}/tokenize", body, optional=True)
    return Server(
        dialect=dialect,
        model=entry["id"],
        root=root,
        window=window if isinstance(window, int) and window > 0 else None,
        tokenizes="tokens" in _mapping(tokenized),
        slots=props.get("total_slots") or 0,
    )


def _entries(models: Any) -> list[Mapping[str, Any]]:
    data = _mapping(models).get("data")
    found = data if isinstance(data, list) else []
    return [entry for entry in found if isinstance(entry, Mapping) and entry.get("id")]


def _entry(
    entries: list[Mapping[str, Any]], model: str | None, base_url: str, *, strict: bool
) -> Mapping[str, Any]:
    """The wanted model's entry; llama.cpp itself would answer to any name."""
    if model is None and not entries:
        raise UnsupportedModelError(
            f"The server at {base_url} does not say which models it serves: pass model='name'."
        )
    if model is None and len(entries) > 1 and not strict:
        names = ", ".join(repr(entry["id"]) for entry in entries[:8])
        raise UnsupportedModelError(
            f"The server at {base_url} serves {len(entries)} models ({names}): pass one as model=."
        )
    if model is None:
        return entries[0]
    for entry in entries:
        if model == entry["id"] or model in (entry.get("aliases") or ()):
            return {**entry, "id": model}
    if strict and entries:
        names = ", ".join(repr(entry["id"]) for entry in entries)
        raise UnsupportedModelError(
            f"The server at {base_url} serves {names}, and not {model!r}: pass one of those as "
            "model=, or none for the first."
        )
    return {"id": model}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
