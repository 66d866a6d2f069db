"""URLs of servers."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from urial_core.errors import ParameterError

__all__ = ["api_url", "server_root", "without_login"]


def api_url(base_url: str) -> str:
    """The URL of a server's API: a URL without a path gets the usual ``/v1``.

    Raises:
        ParameterError: It is no URL.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ParameterError(
            f"base_url is {base_url!r}: give a URL, as in http://127.0.0.1:8000/v1"
        )
    return base_url.rstrip("/") if parts.path.strip("/") else base_url.rstrip("/") + "/v1"


def server_root(base_url: str) -> str:
    """The URL in front of the API's ``/v1``."""
    return base_url.rstrip("/").removesuffix("/v1")


def without_login(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
