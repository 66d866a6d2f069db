"""Control characters in text that others wrote, made visible: a terminal would obey them."""

from __future__ import annotations

__all__ = ["visible"]

_KEPT = "\n\t"
_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
}


def visible(text: str) -> str:
    """Replace control characters by pictures of them; newlines and tabs stay."""
    return text.translate(_PICTURES)
