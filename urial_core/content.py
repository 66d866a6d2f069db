"""Content: what of a message's parts a base model can read, which is text."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from urial_core.errors import UnsupportedContentError

__all__ = ["Attachment", "content_text", "from_base64", "from_data_url"]

_TEXT_SUBTYPES = (
    *("json", "xml", "yaml", "x-yaml", "toml", "javascript", "typescript", "sql", "graphql"),
    *("x-ndjson", "jsonl", "x-sh", "x-python", "x-httpd-php", "x-tex", "x-latex"),
)
"""Subtypes of ``application/`` whose data is text."""
_MEDIA = ("image", "audio", "video", "font", "model")
"""Types that are no text for a reader, even where they are written in XML."""
_UNKNOWN_TYPES = ("", "application/octet-stream", "binary/octet-stream")
"""MIME types that say nothing about the data."""
_CHARSET = re.compile(r"""charset=["']?([\w.:-]+)""", re.IGNORECASE)
_LONGEST_URL = 200


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a message holds beside its own text: a file, a picture, or a link to one.

    Attributes:
        kind: What the framework calls it, for errors, such as "a block of type 'file'".
        data: Its data, or its text; None if it is somewhere else, or damaged.
        mime_type: Its MIME type, or the type's first half, which decides whether the data is text;
            empty if unknown.
        title: Its name. It is written on a line before the text.
        url: Where it is, if there is no data. Nothing is fetched.
    """

    kind: str
    data: bytes | str | None = None
    mime_type: str = ""
    title: str = ""
    url: str = ""

    @property
    def text(self) -> str | None:
        """Its text; None if it is something else."""
        text = self.data if self.data is None or isinstance(self.data, str) else self._decoded()
        return f"{self.title}:\n{text}" if text and self.title else text

    @property
    def description(self) -> str:
        """Its type and size, or its place, as far as known: "image/png, 12 kB"."""
        size = "" if self.data is None else _size(len(self.data))
        where = self.url if len(self.url) <= _LONGEST_URL else f"{self.url[:_LONGEST_URL]}..."
        return ", ".join(filter(None, (self.mime_type, size, where)))

    def _decoded(self) -> str | None:
        data = self.data if isinstance(self.data, bytes) else b""
        mime_type, charset = _mime_type(self.mime_type)
        if mime_type in _UNKNOWN_TYPES:
            return _utf8(data) if not _has_control_bytes(data) else None
        if not _is_text(mime_type):
            return None
        try:
            return data.decode(charset, errors="replace")
        except (LookupError, UnicodeError):  # no such charset, or none that replaces, such as idna
            text = _utf8(data)
            return data.decode("cp1252", errors="replace") if text is None else text


def content_text(
    parts: Iterable[str | Attachment], speaker: str, *, is_result: bool = False, between: str = ""
) -> str:
    """Return the text of a message's parts.

    Attachments that hold text are paragraphs of their own.

    Args:
        parts: The parts, in order.
        speaker: What the framework calls the message's role, for errors.
        is_result: Whether it is a tool's result. An attachment that is no text is then described
            to the model, since an error would make the rest of the conversation unusable.
        between: What is written between two texts.

    Raises:
        UnsupportedContentError: An attachment is no text.
    """
    text, after_attachment = "", False
    for part in parts:
        is_attachment = isinstance(part, Attachment)
        if text:
            text += "\n\n" if is_attachment or after_attachment else between
        text += _attached_text(part, speaker, is_result) if isinstance(part, Attachment) else part
        after_attachment = is_attachment
    return text


def from_base64(text: str) -> bytes | None:
    """Decode base64; None if it is damaged."""
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return None


def from_data_url(url: str) -> tuple[str, bytes | None]:
    """Return the MIME type and the data that a ``data:`` URL holds; None for any other's data."""
    scheme, _, rest = url.partition(":")
    head, comma, payload = rest.partition(",")
    if scheme.lower() != "data" or not comma:
        return "", None
    mime_type, is_base64, _ = head.partition(";base64")
    return mime_type, from_base64(payload) if is_base64 else unquote_to_bytes(payload)


def _attached_text(attachment: Attachment, speaker: str, is_result: bool) -> str:  # noqa: FBT001
    text = attachment.text
    if text is not None:
        return text
    if is_result:
        return f"[{attachment.description or attachment.kind}: this model reads text only]"
    found = f" ({attachment.description})" if attachment.description else ""
    advice = "Pass the text of what is there" if attachment.url else "Describe it in words"
    raise UnsupportedContentError(
        f"A {speaker} message holds {attachment.kind}: base models read text only. {advice}, or "
        f"remove the block{found}."
    )


def _mime_type(written: str) -> tuple[str, str]:
    """Split a MIME type into the type and the name of its character set, if it has one."""
    mime_type, _, parameters = written.partition(";")
    charset = _CHARSET.search(parameters)
    return mime_type.strip().lower(), charset[1] if charset else "unknown"


def _is_text(mime_type: str) -> bool:
    kind, _, subtype = mime_type.partition("/")
    if kind in _MEDIA:
        return False
    return kind == "text" or subtype in _TEXT_SUBTYPES or subtype.endswith(("+json", "+xml"))


def _utf8(data: bytes) -> str | None:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _has_control_bytes(data: bytes) -> bool:
    """Whether data holds bytes that no text has."""
    return any(byte < 0x20 and byte not in b"\t\n\f\r\x1b" for byte in data)


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    return f"{size // 1000} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
