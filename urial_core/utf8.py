"""Decode the bytes of text files that users write."""

from __future__ import annotations

__all__ = ["DATA_SUFFIXES", "decode_utf8"]

DATA_SUFFIXES = (".json", ".yaml", ".yml", ".csv", ".tsv")
"""Suffixes of data formats that no reader of this project takes for text."""


def decode_utf8(data: bytes, *, keep_mark: bool = False) -> str:
    """Return the text of a file's bytes.

    Args:
        data: The bytes.
        keep_mark: Whether a byte order mark is part of the text.

    Raises:
        ValueError: They are not UTF-8 text, for the reason that the message gives.
    """
    text = data.decode("utf-8" if keep_mark else "utf-8-sig")
    if "\0" in text:
        raise ValueError("it holds NUL characters, as UTF-16 does")
    return text
