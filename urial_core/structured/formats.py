"""Formats of strings: which of them a grammar enforces, and which are validated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import FormatChecker

__all__ = ["ENFORCED_FORMATS", "FORMAT_PATTERNS", "format_checker"]

ENFORCED_FORMATS = frozenset(
    ("date", "time", "date-time", "email", "hostname", "ipv4", "ipv6", "uuid")
)
"""The formats that every llguidance enforces.

Python's also knows ``uri``. The one in xllamacpp does not, and llama.cpp then writes free text.
"""

_HEX = "[0-9a-f]"
_UUID = f"^{_HEX}{{8}}-{_HEX}{{4}}-%s{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}$"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}"
_DURATION = (
    "^P([0-9]{1,4}Y([0-9]{1,2}M)?([0-9]{1,3}D)?|[0-9]{1,4}M([0-9]{1,3}D)?|[0-9]{1,4}W|"
    "[0-9]{1,4}D(T[0-9]{1,2}H([0-9]{1,2}M([0-9]{1,2}S)?)?)?|T([0-9]{1,4}H([0-9]{1,2}M)?"
    "([0-9]{1,2}S)?|[0-9]{1,4}M([0-9]{1,2}S)?|[0-9]{1,6}S))$"
)
_BASE64 = "^([%s]{4})*([%s]{2}==|[%s]{3}=)?$"

FORMAT_PATTERNS = {
    "uri": r"^[A-Za-z][A-Za-z0-9+.\-]{0,20}://[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)*(:[0-9]{1,4})?"
    r"(/[A-Za-z0-9._~!$&'()*+,;=:@%/\-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?\-]*)?"
    r"(#[A-Za-z0-9._~!$&'()*+,;=:@%/?\-]*)?$",
    "duration": _DURATION,
    "base64": _BASE64.replace("%s", "A-Za-z0-9+/"),
    "base64url": _BASE64.replace("%s", r"A-Za-z0-9_\-"),
    "ipvanyaddress": f"^{_IPV4}$",
    "ipvanyinterface": f"^{_IPV4}(/([12]?[0-9]|3[0-2]))?$",
    "ipvanynetwork": rf"^{_BYTE}\.{_BYTE}\.{_BYTE}\.0/24$",
    **{f"uuid{version}": _UUID.replace("%s", str(version)) for version in range(1, 9)},
}
"""Patterns that a grammar enforces in place of a format. Of ``uri``, it is looser."""


def _types() -> dict[str, Any]:
    """Return the types whose parsers decide on a format, for what jsonschema leaves open."""
    import pydantic

    uuids = {f"uuid{n}": getattr(pydantic, f"UUID{n}", None) for n in range(1, 9)}
    return {
        "time": dt.time,
        "date-time": dt.datetime,
        "duration": dt.timedelta,
        "uri": pydantic.AnyUrl,
        "base64": pydantic.Base64Bytes,
        "base64url": pydantic.Base64UrlBytes,
        "ipvanyaddress": pydantic.IPvAnyAddress,
        "ipvanyinterface": pydantic.IPvAnyInterface,
        "ipvanynetwork": pydantic.IPvAnyNetwork,
        **{name: kind for name, kind in uuids.items() if kind is not None},
    }


@lru_cache(1)
def format_checker() -> FormatChecker:
    """Return the checker of all formats that can be validated; others are remarks."""
    from jsonschema import FormatChecker
    from pydantic import TypeAdapter

    checker = FormatChecker()
    for name, kind in _types().items():
        checker.checks(name, ValueError)(_parses(TypeAdapter(kind).validate_strings))
    return checker


def _parses(parse: Callable[[str], Any]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if isinstance(value, str):
            parse(value)
        return True

    return check
