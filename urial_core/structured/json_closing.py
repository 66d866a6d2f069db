"""JSON closing: a short way to the end of a JSON text, from wherever it stands.

The search asks the grammar what may come next and nothing else, so it serves any schema. It takes
what ends something where it can, else the shortest value. It looks around only within a string or a
number that cannot end yet, and, where the way gets too long, at the values it began. What it finds
is short, though not always the shortest.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

__all__ = ["Closer", "Closing", "Within"]

Closing = tuple[int, ...]
"""Tokens that make a text whole."""

Within = Literal["", "string", "escape", "scalar"]
"""What a JSON text stands in: nothing, a string, an escape in one, or a number or literal."""

_VALUES = (b'""', b"0", b"[]", b"{}", b"null", b"true", b"false", b'"', b"n", b"t", b"f")
"""Short beginnings of values, best first."""
_CHARACTERS = tuple(bytes([byte]) for byte in range(0x20, 0x7F) if byte != ord("\\"))
"""Escapes would do too, but look odd."""
_SAMPLES = tuple(bytes([byte]) for byte in b"aA01-.:/@_ ")
"""Characters that differ to most patterns and formats."""
_QUOTE, _BACKSLASH = b'"\\'
_BEHIND_IN_STRING: dict[int, Within] = {_QUOTE: "", _BACKSLASH: "escape"}
_FRONTIER = 8
"""Ways followed at once through a string or a number."""
_EFFORT = 2000
"""Tokens tried before a search gives up: some hundredths of a second."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A place on the way.

    Attributes:
        matcher: The grammar's matcher.
        within: What the text stands in.
        path: The tokens so far.
        left: Whether the latest of them ended what it stood in, perhaps to begin something else.
    """

    matcher: Any
    within: Within
    path: Closing = ()
    left: bool = False


class Closer:
    """Finds closings, in the vocabulary of one tokenizer."""

    def __init__(self, tokens: Iterable[tuple[int, bytes]]) -> None:
        """Look over all tokens and their bytes, special ones left out."""
        self._bytes = dict(tokens)
        self._tried = 0
        first = dict[bytes, int]()
        longer = dict[tuple[bool, int], int]()
        ends = list[int]()
        for token, text in self._bytes.items():
            first.setdefault(text, token)
            if re.fullmatch(rb'"|"?[\]}]+', text):
                ends.append(token)
            elif len(text) > 1 and text.isalnum() and text.isascii():
                longer.setdefault((text.isdigit(), len(text)), token)
        ends.sort(key=lambda token: -len(self._bytes[token]))
        characters = [first[text] for text in _CHARACTERS if text in first]
        separators = [first[text] for text in (b", ", b",", b": ", b":", b" ") if text in first]
        of_string = [token for token in ends if self._bytes[token].startswith(b'"')]
        of_value = [token for token in ends if not self._bytes[token].startswith(b'"')]
        self._ends: dict[Within, list[int]] = {
            "": of_value + separators,
            "scalar": of_value + separators,
            "string": of_string,
            "escape": [],
        }
        self._values = [first[text] for text in _VALUES if text in first] + characters
        longest = sorted(longer.values(), key=lambda token: -len(self._bytes[token]))
        samples = [first[text] for text in _SAMPLES if text in first]
        self._contents = (longest + samples, characters)

    def within(self, before: Within, tokens: Iterable[int]) -> list[Within]:
        """What a JSON text stands in behind each further byte; begins with ``before``."""
        states = [before]
        for byte in b"".join(self._bytes.get(token, b"") for token in tokens):
            match states[-1]:
                case "escape":
                    states.append("string")
                case "string":
                    states.append(_BEHIND_IN_STRING.get(byte, "string"))
                case _ if byte == _QUOTE:
                    states.append("string")
                case _:
                    states.append("" if byte in b"{}[],: " else "scalar")
        return states

    def find(self, matcher: Any, state: Within, limit: int) -> Closing | None:
        """Find a closing of at most ``limit`` tokens; None if there seems to be none.

        Args:
            matcher: The grammar's matcher; it is left as it is.
            state: What the text stands in.
            limit: The most tokens that the closing may have.
        """
        self._tried = 0
        ways = deque([_Place(matcher.deep_copy(), state)])
        first = True
        while ways and (first or self._tried < _EFFORT):
            first = False
            place: _Place | None = ways.popleft()
            while place is not None and len(place.path) <= limit:
                if place.matcher.is_accepting():
                    return place.path
                mask = place.matcher.compute_bitmask()
                if (end := self._end(place.within, mask)) is not None:
                    place = self._behind(place, end)
                elif place.within:
                    place = self._through(place, limit)
                else:
                    starts = self._starts(mask)
                    ways.extend(self._behind(place, start) for start in starts[1:])
                    place = self._behind(place, starts[0]) if starts else None
        return None

    def _end(self, state: Within, mask: bytes) -> int | None:
        """A token that ends what the text stands in."""
        return next(_allowed(self._ends[state], mask), None)

    def _starts(self, mask: bytes) -> list[int]:
        """Tokens that begin a value, one of each kind."""
        kinds = dict[bytes, int]()
        for token in _allowed(self._values, mask):
            kind = self._bytes[token][:1]
            kinds.setdefault(b"0" if kind.isdigit() else kind, token)
        return list(kinds.values()) or _some(mask)

    def _through(self, place: _Place, limit: int) -> _Place | None:
        """Go on to where the present string or number may end, by as few tokens as seem needed."""
        seen = {place.matcher.compute_bitmask()}
        frontier = [place]
        effort = self._tried + _EFFORT
        counting = False
        while frontier and self._tried < effort:
            reached = dict[bytes, _Place]()
            for contents in self._contents:
                for after in self._fan(frontier, contents, 1 if counting else None):
                    if after.left or after.matcher.is_accepting():
                        return after
                    mask = after.matcher.compute_bitmask()
                    if self._end(after.within, mask) is not None:
                        return after
                    if len(after.path) < limit:
                        reached.setdefault(mask, after)
                if reached and (counting or not seen.issuperset(reached)):
                    break
            # Where the same tokens may follow as before, it is the same place or one of a count.
            new = [reached[mask] for mask in reached if mask not in seen]
            counting = not new
            frontier = new[:_FRONTIER] or list(reached.values())[:1]
            seen.update(reached)
        return None

    def _fan(
        self, frontier: Sequence[_Place], contents: Sequence[int], most: int | None
    ) -> Iterator[_Place]:
        """The places behind each of these, by the first ``most`` allowed of some tokens."""
        for place in frontier:
            mask = place.matcher.compute_bitmask()
            allowed = list(islice(_allowed(contents, mask), most))
            if not allowed and contents is self._contents[-1]:
                allowed = _some(mask)
            for token in allowed:
                yield self._behind(place, token)

    def _behind(self, place: _Place, token: int) -> _Place:
        """The place behind a token and all that must follow it."""
        self._tried += 1
        matcher = place.matcher.deep_copy()
        matcher.consume_token(token)
        forced = matcher.compute_ff_tokens()
        matcher.consume_tokens(forced)
        tokens = (token, *forced)
        states = self.within(place.within, tokens)
        return _Place(matcher, states[-1], (*place.path, *tokens), "" in states[1:])


def _allowed(tokens: Sequence[int], mask: bytes) -> Iterator[int]:
    return (token for token in tokens if mask[token >> 3] >> (token & 7) & 1)


def _some(mask: bytes) -> list[int]:
    """A few of the allowed tokens, whichever they are."""
    found = list[int]()
    for at, byte in enumerate(mask):
        if byte:
            found += [8 * at + bit for bit in range(8) if byte >> bit & 1]
            if len(found) >= _FRONTIER:
                break
    return found
