"""What the environment sets for HTTP clients: proxies and certificates, by name for errors."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

__all__ = ["proxy_variable", "set_variables"]

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def set_variables() -> list[str]:
    """Return the names of the variables that are set, as they are written."""
    return [name for name, value in os.environ.items() if value and name.upper() in _VARIABLES]


def proxy_variable(url: str) -> str | None:
    """Return the name of the variable whose proxy is used for a URL."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    wanted = (f"{parts.scheme}_proxy".upper(), "ALL_PROXY")
    return next((name for name in set_variables() if name.upper() in wanted), None)
