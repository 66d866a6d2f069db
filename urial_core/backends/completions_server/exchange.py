"""Exchange: what is asked of a server and what is made of it, without saying how it is sent.

An exchange is a generator: it yields an ``Ask``, is sent the answer, and returns its result. So
each is written once, and ``Connection`` runs it, blocking or not.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["COMPLETIONS", "Ask", "Exchange"]

COMPLETIONS = "/completions"
"""The path that continues a page."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request.

    Attributes:
        url: A path below the API's base URL, or a whole URL.
        body: What is posted, as Python objects; None for a GET.
        optional: Whether the server may lack this path; the answer is then None.
    """

    url: str
    body: Mapping[str, Any] | None = None
    optional: bool = False


Exchange = Generator[Ask, Any, _T]
"""Yields what to ask, is sent the JSON that comes back, and returns what it makes of it."""
