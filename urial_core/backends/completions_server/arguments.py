"""The arguments of ``CompletionsServerModel``: what they must be, and what a URL holds. Pure."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import index
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict  # before Python 3.12, pydantic takes no other

from urial_core.errors import ParameterError, shown

__all__ = ["ApiUrl", "api_url", "check_settings", "header_value"]


def _as_json(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"It should be of what JSON can hold ({error})") from None
    return value


def _as_int(value: Any) -> Any:
    """Return an integer of another library, such as numpy's, as Python's."""
    with suppress(TypeError):
        return index(value)
    return value


class _Settings(TypedDict):
    model: str | None
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    max_retries: Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_as_int)]
    context_window: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_as_int)]
    extra_body: Annotated[Mapping[str, Any], AfterValidator(_as_json)] | None


_SETTINGS = TypeAdapter[Any](with_config(ConfigDict(strict=True))(_Settings))


def check_settings(**settings: Any) -> None:
    """Raise if an argument of a server's model is of an invalid type or value.

    Raises:
        ParameterError: The message does not show ``extra_body``, which may hold secrets.
    """
    try:
        _SETTINGS.validate_python(settings)
    except ValidationError as error:
        [fault, *_] = error.errors(include_url=False, include_context=False)
        name, *place = map(str, fault["loc"])
        given = "invalid" if name == "extra_body" else shown(fault["input"])
        wanted = fault["msg"].removeprefix("Value error, ").replace("Input should", "It should")
        where = f" at {'.'.join(place)}" if place else ""
        raise ParameterError(f"{name} is {given}{where}. {wanted}.") from None


@dataclass(frozen=True, slots=True)
class ApiUrl:
    """The parts of ``base_url``.

    Attributes:
        url: The API's URL, which errors may show.
        query: What every request's query holds, as gateways want it (``?api-version=1``).
        login: The login, as a header's value.
        model: The model's name.
    """

    url: str
    query: Mapping[str, str]
    login: str | None
    model: str | None


def api_url(base_url: str) -> ApiUrl:
    """Return the parts of a server's URL; ``/v1`` is added to a URL without a path.

    Raises:
        ParameterError: It is not an HTTP URL.
    """
    valid = False
    with suppress(ValueError):  # of an unclosed bracket or an impossible port
        parts = urlsplit(base_url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    if not valid or not base_url.isprintable() or " " in base_url:
        raise ParameterError(
            f"base_url is {_without_login(base_url)!r}: give a URL, as in http://127.0.0.1:8000/v1"
        )
    login, _, place = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/") or "/v1"
    return ApiUrl(
        urlunsplit((parts.scheme, place, path, "", "")),
        dict(parse_qsl(parts.query, keep_blank_values=True)),
        f"Basic {b64encode(unquote(login).encode()).decode()}" if login else None,
        unquote(parts.fragment) or None,
    )


def _without_login(url: str) -> str:
    """Return what may be shown of a URL, which need not be well formed."""
    scheme, separator, rest = str(url).rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def header_value(key: Any) -> str | None:
    """Return a key without the whitespace around it, such as a file's last newline.

    Raises:
        ParameterError: An HTTP header cannot hold it; the message does not show it.
    """
    key = key.strip() if isinstance(key, str) else key
    if key and not (isinstance(key, str) and key.isascii() and key.isprintable()):
        raise ParameterError(
            "api_key holds a character that no HTTP header can hold, such as a line break, or is "
            "no text: pass the server's key as it was issued."
        )
    return str(key) if key else None
