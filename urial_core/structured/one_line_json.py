"""JSON on one line: servers leave whitespace between JSON's parts to the model."""

from __future__ import annotations

__all__ = ["OneLineJson"]


class OneLineJson:
    """Rewrites whitespace outside strings: one space behind each comma and colon, and no other.

    So every server gives the form that ``urial_core.structured.constraints.JsonSchema`` promises.
    """

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> str:
        """Take more of the JSON; return it as it is to be."""
        return "".join(map(self._rewritten, text))

    def _rewritten(self, character: str) -> str:
        if self._escaped:
            self._escaped = False
        elif character == '"':
            self._in_string = not self._in_string
        elif self._in_string:
            self._escaped = character == "\\"
        elif character in " \t\r\n":
            return ""
        elif character in ",:":
            return f"{character} "
        return character
