"""Scan JSON text character by character: where strings are, and where a value ends.

One state machine, ``next_state``, serves all that scan JSON: ``JsonValue`` finds the end of a
streamed value, ``OneLineJson`` normalises whitespace, and ``json_closing`` completes cut JSON.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["JsonState", "JsonValue", "OneLineJson", "next_state"]

JsonState = Literal["structure", "scalar", "string", "escape"]
"""Where a JSON text is: between values, in a number or literal, in a string, or after a backslash
in one."""

_WHITESPACE = " \t\r\n"
_PAIRS = {"{": "}", "[": "]"}
_IN_STRING = ("string", "escape")
_AFTER_STRUCTURE: dict[str, JsonState] = {
    '"': "string",
    **dict.fromkeys("{}[],:" + _WHITESPACE, "structure"),
}
_AFTER_STRING: dict[str, JsonState] = {'"': "structure", "\\": "escape"}
_LOOP = 160
"""Characters of repetition, from which on a string is taken for a loop; rulers are shorter."""
_LEAST_ROUNDS = 4
"""How often what is repeated has to occur, however long it is."""
_LONGEST_PERIOD = 320
_COMPARED = 32
"""Characters of the end by whose last occurrence the length of a round is guessed."""
_NORMALISED = {",": ", ", ":": ": "}


def next_state(state: JsonState, character: str) -> JsonState:
    """Return the state after one more character. It validates nothing."""
    if state == "string":
        return _AFTER_STRING.get(character, "string")
    return "string" if state == "escape" else _AFTER_STRUCTURE.get(character, "scalar")


class JsonValue:
    """Finds the end of one streamed JSON value, and an object's members on the way.

    It validates nothing: the text may turn out not to be JSON.

    Attributes:
        text: The value so far, without leading whitespace.
        complete: Whether it has ended. A number or a literal ends only with what follows it.
        looped: Whether ``close_loop`` ended it, so that it may lack what its schema requires.
        members: Of an object, where each member's value starts in ``text`` and where it ends (None
            until it does), by the member's name as it is written, without quotes.
    """

    def __init__(self) -> None:
        self.text = ""
        self.complete = False
        self.looped = False
        self.members = dict[str, tuple[int, int | None]]()
        self._state: JsonState = "structure"
        self._open = list[str]()  # what closes the objects and lists we are in
        self._string_start = 0
        self._last_string = ""
        self._member: str | None = None  # the member of the outermost object whose value we are in

    def close_loop(self) -> None:
        """End the value if the string that we are in does nothing but repeat itself.

        Small models do that until `max_tokens`. What is still missing is left out.
        """
        if not self._loops():
            return
        self.looped = True
        while self._state in _IN_STRING:  # a quote may follow a backslash
            self.feed('"')
        self.feed("".join(reversed(self._open)))

    def _loops(self) -> bool:
        if self._state not in _IN_STRING:
            return False
        text, end = self.text, len(self.text)
        window = max(self._string_start + 1, end - _COMPARED - _LONGEST_PERIOD)
        compared = text[max(end - _COMPARED, window) :]
        at = text.rfind(compared, window, end - 1)
        while at >= 0:
            period = end - len(compared) - at
            start = end - max(_LOOP, _LEAST_ROUNDS * period)
            if start > self._string_start and text[start + period :] == text[start : end - period]:
                return True
            at = text.rfind(compared, window, at + len(compared) - 1)
        return False

    def feed(self, text: str) -> str:
        """Take more text; return what follows the value's end."""
        if self.complete:
            return text
        start = len(self.text)
        whole, self.text = self.text, ""  # else each piece would copy the text so far
        whole += text if start else text.lstrip(_WHITESPACE)
        self.text = whole
        del whole
        if start == 0 and self.text[:1] not in ("", "{", "[", '"'):
            self._open.append("")  # a number or a word: nothing closes it
        for at in range(start, len(self.text)):
            character = self.text[at]
            before, self._state = self._state, next_state(self._state, character)
            if before not in _IN_STRING:
                self._take(character, at)
            elif self._state == "structure":
                self._last_string = self.text[self._string_start + 1 : at]
                self.complete = not self._open
            if self.complete:
                rest, self.text = self.text[at + 1 :], self.text[: at + 1]
                return rest
        return ""

    def _take(self, character: str, at: int) -> None:
        """Take a character outside strings, or a string's opening quote."""
        if self._member is not None and self._outermost and character not in _WHITESPACE:
            self._start_or_end_member(character, at)
        if character == '"':
            self._string_start = at
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

    def _start_or_end_member(self, character: str, at: int) -> None:
        member = self._member or ""
        if character in ",}":
            start, _ = self.members.get(member, (at, None))
            self.members[member] = (start, start + len(self.text[start:at].rstrip()))
            self._member = None
        elif member not in self.members:
            self.members[member] = (at, None)


class OneLineJson:
    """Rewrites streamed JSON in the whitespace that ``JsonSchema`` promises.

    Servers leave whitespace between JSON's parts to the model. Outside strings, one space follows
    each comma and colon, and there is no other, except between two numbers or literals: these are
    invalid JSON, and without the space they would become one valid value.
    """

    def __init__(self) -> None:
        self._state: JsonState = "structure"
        self._gap = ""  # what another number or literal would have before it

    def feed(self, text: str) -> str:
        """Take more of the JSON; return it normalised."""
        normalised = ""
        for character in text:
            before, self._state = self._state, next_state(self._state, character)
            if before in _IN_STRING:
                normalised += character
            elif character in _WHITESPACE:
                self._gap = " " if before == "scalar" else self._gap
            else:
                normalised += self._gap if self._state == "scalar" else ""
                normalised += _NORMALISED.get(character, character)
                self._gap = ""
        return normalised
