"""Trim the whitespace that the format, not the reply, asks for."""

from __future__ import annotations

__all__ = ["WhitespaceTrimmer"]


class WhitespaceTrimmer:
    """Drops whitespace before the first and after the last other character; keeps all between."""

    def __init__(self, *, keep_leading: bool = False) -> None:
        self._started = keep_leading
        self._held = list[str]()

    def feed(self, text: str) -> str:
        """Take more text; return it without the whitespace that may yet turn out to be the last."""
        if not self._started:
            text = text.lstrip()
            self._started = bool(text)
        body = text.rstrip()
        if not body:
            self._held.append(text)
            return ""
        out = "".join([*self._held, body])
        self._held = [text[len(body) :]]
        return out
