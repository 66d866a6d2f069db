"""Checked JSON: a text held against its schema, and put right where only its writing is wrong."""

from __future__ import annotations

import json

from urial_core.structured.json_schema import fitted

__all__ = ["checked_json"]


def checked_json(text: str, schema: str, *, stands: bool = False) -> tuple[str, str]:
    """Hold a text against a schema.

    Args:
        text: The text.
        schema: The schema, as JSON text.
        stands: Whether the text was given out; else what is only written in another way, such as
            ``"3"`` where a number must stand, is put right.

    Returns:
        The value as JSON text, and what is wrong with it; empty if nothing is.
    """
    try:
        loaded = json.loads(text, strict=stands, parse_constant=_refuse)
    except ValueError as error:
        return text, f"This is not JSON: {error}."
    value, wrong = fitted(loaded, schema, retype=not stands)
    if value == loaded and type(value) is type(loaded) and (stands or _is_json(text)):
        return text, wrong
    return json.dumps(value, ensure_ascii=False), wrong


def _is_json(text: str) -> bool:
    """Whether a text is JSON to the letter, with no control characters in its strings."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> None:
    """Python would read ``NaN`` and infinities, which are no JSON."""
    raise ValueError(f"{constant} is no number")
