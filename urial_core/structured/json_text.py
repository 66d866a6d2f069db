"""Read and write JSON whose numbers keep the digits that were written, and which UTF-8 can hold."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, Self

__all__ = ["Number", "dump_json", "encodable_json", "load_json", "load_precise_json"]

_SURROGATE = re.compile("[\ud800-\udfff]")


class Number(float):
    """A finite number, and how it was written, which is also its ``str``: pydantic reads that.

    Raises:
        ValueError: It is no number in JSON, or too large.
    """

    written: str

    def __new__(cls, written: str) -> Self:
        """Read a number."""
        number = super().__new__(cls, written)
        if not isfinite(number):
            raise ValueError(f"{written} is no number")
        number.written = written
        return number

    def __str__(self) -> str:
        """Return it as it was written."""
        return self.written

    @property
    def keeps_digits(self) -> bool:
        """Whether it has all digits that were written: a float has room for 15 to 17."""
        try:
            return Decimal(self.written) == Decimal(repr(self))
        except InvalidOperation:  # an exponent of many digits
            return False


def load_json(text: str, *, strict: bool = True) -> Any:
    """Load JSON whose numbers are finite: Python reads ``NaN``, ``Infinity`` and ``1e999`` too.

    Raises:
        ValueError: It is not JSON.
    """
    return json.loads(text, strict=strict, parse_constant=Number, parse_float=Number)


def load_precise_json(text: str) -> tuple[Any, bool]:
    """Load JSON of which pydantic reads all digits into a ``Decimal``.

    Returns:
        The value, and whether some number of it has more digits than a float: those are `Number`.

    Raises:
        ValueError: It is not JSON.
    """
    is_longer = False

    def number(written: str) -> float:
        nonlocal is_longer
        if (read := Number(written)).keeps_digits:
            return float(read)
        is_longer = True
        return read

    return json.loads(text, parse_constant=Number, parse_float=number), is_longer


def dump_json(value: Any) -> str:
    """Return a loaded value as JSON text, on one line."""
    try:
        text = _dumped(value)
    except RecursionError:  # C has room for more levels, but writes numbers its own way
        text = json.dumps(value, ensure_ascii=False)
    return encodable_json(text)


def encodable_json(text: str) -> str:
    r"""Return JSON text with lone surrogates escaped (``\ud83d``), since UTF-8 cannot hold them."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _dumped(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(map(_member, value.items())) + "}"
        case list():
            return "[" + ", ".join(map(_dumped, value)) + "]"
        case Number():
            return value.written
    return json.dumps(value, ensure_ascii=False)


def _member(named: tuple[str, Any]) -> str:
    name, value = named
    return f"{json.dumps(name, ensure_ascii=False)}: {_dumped(value)}"
