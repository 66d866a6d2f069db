"""Find the end of a JSON value in a text that comes piece by piece."""

from __future__ import annotations

__all__ = ["JsonValue"]

_WHITESPACE = " \t\r\n"
_PAIRS = {"{": "}", "[": "]"}


class JsonValue:
    """Follows one JSON value to its end, and an object's members on the way.

    It checks nothing: what it follows may turn out not to be JSON.

    Attributes:
        text: The value so far, without whitespace before it.
        complete: Whether it has ended. The end of a number or a word shows only by what follows.
        members: Of an object, where each member's value starts in ``text`` and where it ends (None
            while it goes on), by the member's name as it is written, quotes left out.
    """

    def __init__(self) -> None:
        self.text = ""
        self.complete = False
        self.members = dict[str, tuple[int, int | None]]()
        self._open = list[str]()  # what closes the objects and lists we are in
        self._in_string = False
        self._escaped = False
        self._string_start = 0
        self._last_string = ""
        self._member: str | None = None  # the member of the outermost object whose value we are in

    def feed(self, text: str) -> str:
        """Take more text; return what stands behind the value's end."""
        if self.complete:
            return text
        start = len(self.text)
        self.text += text if self.text else text.lstrip(_WHITESPACE)
        if start == 0 and self.text[:1] not in ("", "{", "[", '"'):
            self._open.append("")  # a number or a word: nothing closes it
        for at in range(start, len(self.text)):
            self._take(self.text[at], at)
            if self.complete:
                rest, self.text = self.text[at + 1 :], self.text[: at + 1]
                return rest
        return ""

    def _take(self, character: str, at: int) -> None:
        if self._in_string:
            self._in_string_take(character, at)
            return
        if self._member is not None and self._outermost and character not in _WHITESPACE:
            self._start_or_end_member(character, at)
        if character == '"':
            self._in_string, self._string_start = True, at
        elif character in _PAIRS:
            self._open.append(_PAIRS[character])
        elif self._open and character == self._open[-1]:
            self._open.pop()
            self.complete = not self._open
        elif character == ":" and self._outermost and self._member is None:
            self._member = self._last_string

    @property
    def _outermost(self) -> bool:
        """Whether we are in the outermost object and in nothing within it."""
        return self._open == ["}"]

    def _in_string_take(self, character: str, at: int) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == '"':
            self._in_string = False
            self._last_string = self.text[self._string_start + 1 : at]
            self.complete = not self._open

    def _start_or_end_member(self, character: str, at: int) -> None:
        member = self._member or ""
        if character in ",}":
            start, _ = self.members.get(member, (at, None))
            self.members[member] = (start, start + len(self.text[start:at].rstrip()))
            self._member = None
        elif member not in self.members:
            self.members[member] = (at, None)
