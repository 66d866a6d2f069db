"""Complete cut JSON: find a short way to the end of a JSON text, from any point in it.

The search asks the grammar's matcher what may come next and nothing else, so it serves any schema.
It ends the present value where it can, and else begins the shortest one. It branches only within a
string or a number that cannot end yet and, where the path gets too long, at the values it began.
What it finds is short, though not always the shortest.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from typing import Any

from urial_core.structured.constraints import JsonSchema
from urial_core.structured.grammar import grammar_of
from urial_core.structured.json_scanner import JsonState, next_state

__all__ = ["Closer", "Closing", "rest_of"]

Closing = tuple[int, ...]
"""Tokens that complete a text."""

_VALUES = (b'""', b"0", b"[]", b"{}", b"null", b"true", b"false", b'"', b"n", b"t", b"f")
"""Short beginnings of values, best first."""
_CHARACTERS = tuple(bytes([byte]) for byte in range(0x20, 0x7F) if byte != ord("\\"))
"""Escapes would do too, but look odd."""
_SAMPLES = tuple(bytes([byte]) for byte in b"aA01-.:/@_ ")
"""Characters that most patterns and formats tell apart."""
_SEPARATORS = (b", ", b",", b": ", b":", b" ")
_MAX_FRONTIER = 8
"""Paths followed at once through a string or a number."""
_MAX_TRIED = 2000
"""Tokens tried before a search gives up: some hundredths of a second."""
_MAX_REST = 1000
"""Most bytes that ``rest_of`` adds."""


def rest_of(text: str, schema: JsonSchema) -> str:
    """Return what completes the beginning of a JSON text so that it matches its schema.

    Servers stop at ``max_tokens`` amid a value, and a weak model may write without end. The model
    is not asked again: what it was writing is closed, and each missing part gets a short value.

    Args:
        text: The beginning, on one line as ``OneLineJson`` writes it.
        schema: The schema that the whole must match.

    Returns:
        The rest; empty if the text is complete, does not begin a value that matches, or cannot be
        completed: llguidance is not installed or does not support the schema.
    """
    if find_spec("llguidance") is None:
        return ""
    from llguidance import LLMatcher

    tokenizer, closer = _byte_tokenizer()
    matcher = LLMatcher(tokenizer, grammar_of(schema), log_level=0)
    written = text.encode()
    if matcher.is_error() or matcher.try_consume_tokens(list(written)) < len(written):
        return ""
    rest = closer.find(matcher, closer.states("structure", written)[-1], _MAX_REST)
    return bytes(rest or ()).decode()


@dataclass(frozen=True, slots=True)
class _Point:
    """A point that the search has reached.

    Attributes:
        matcher: The grammar's matcher.
        state: The scanner's state.
        path: The tokens from the start of the search.
        left: Whether the latest of them ended a string or number, perhaps to begin another.
    """

    matcher: Any
    state: JsonState
    path: Closing = ()
    left: bool = False


class Closer:
    """Finds closings in the vocabulary of one tokenizer."""

    def __init__(self, tokens: Iterable[tuple[int, bytes]]) -> None:
        """Index all tokens and their bytes, special ones left out."""
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
        characters, separators, values, samples = (
            [first[text] for text in texts if text in first]
            for texts in (_CHARACTERS, _SEPARATORS, _VALUES, _SAMPLES)
        )
        of_string = [token for token in ends if self._bytes[token].startswith(b'"')]
        of_value = [token for token in ends if not self._bytes[token].startswith(b'"')]
        of_value += separators
        self._ends: dict[JsonState, list[int]] = {
            "structure": of_value,
            "scalar": of_value,
            "string": of_string,
            "escape": [],
        }
        self._values = values + characters
        longest = sorted(longer.values(), key=lambda token: -len(self._bytes[token]))
        self._contents = (longest + samples, characters)

    def states(self, before: JsonState, tokens: Iterable[int]) -> list[JsonState]:
        """Return the scanner's states from ``before`` on, one after each byte of some tokens."""
        text = b"".join([self._bytes.get(token, b"") for token in tokens]).decode("latin-1")
        states = [before]
        for character in text:
            states.append(next_state(states[-1], character))
        return states

    def find(self, matcher: Any, state: JsonState, limit: int) -> Closing | None:
        """Find a closing of at most ``limit`` tokens; return None if there seems to be none.

        Args:
            matcher: The grammar's matcher; it is not changed.
            state: The scanner's state at its end.
            limit: The most tokens that the closing may have.
        """
        self._tried = 0
        points = deque([_Point(matcher.deep_copy(), state)])
        while points and self._tried < _MAX_TRIED:
            point: _Point | None = points.popleft()
            while point is not None and len(point.path) <= limit:
                if point.matcher.is_accepting():
                    return point.path
                mask = point.matcher.compute_bitmask()
                if (end := self._end(point.state, mask)) is not None:
                    point = self._after(point, end)
                elif point.state != "structure":
                    point = self._through(point, limit)
                else:
                    starts = self._starts(mask)
                    points.extend(self._after(point, start) for start in starts[1:])
                    point = self._after(point, starts[0]) if starts else None
        return None

    def _end(self, state: JsonState, mask: bytes) -> int | None:
        """Return a token that ends the present string, number, list or object."""
        return next(_allowed(self._ends[state], mask), None)

    def _starts(self, mask: bytes) -> list[int]:
        """Return tokens that begin a value, one of each kind."""
        kinds = dict[bytes, int]()
        for token in _allowed(self._values, mask):
            kind = self._bytes[token][:1]
            kinds.setdefault(b"0" if kind.isdigit() else kind, token)
        return list(kinds.values()) or _some(mask)

    def _through(self, point: _Point, limit: int) -> _Point | None:
        """Go on to where the present string or number may end, by as few tokens as seem needed."""
        seen = {point.matcher.compute_bitmask()}
        frontier = [point]
        most_tried = self._tried + _MAX_TRIED
        counting = False
        while frontier and self._tried < most_tried:
            reached = dict[bytes, _Point]()
            for contents in self._contents:
                for after in self._fan(frontier, contents, 1 if counting else None):
                    if after.left or after.matcher.is_accepting():
                        return after
                    mask = after.matcher.compute_bitmask()
                    if self._end(after.state, mask) is not None:
                        return after
                    if len(after.path) < limit:
                        reached.setdefault(mask, after)
                if reached and (counting or not seen.issuperset(reached)):
                    break
            # Where the same tokens may follow as before, it is the same point or one of a count.
            new = [reached[mask] for mask in reached if mask not in seen]
            counting = not new
            frontier = new[:_MAX_FRONTIER] or list(reached.values())[:1]
            seen.update(reached)
        return None

    def _fan(
        self, frontier: Sequence[_Point], contents: Sequence[int], most: int | None
    ) -> Iterator[_Point]:
        """Yield the points after each of these, by the first ``most`` allowed of some tokens."""
        for point in frontier:
            mask = point.matcher.compute_bitmask()
            allowed = list(islice(_allowed(contents, mask), most))
            if not allowed and contents is self._contents[-1]:
                allowed = _some(mask)
            for token in allowed:
                yield self._after(point, token)

    def _after(self, point: _Point, token: int) -> _Point:
        """Return the point after a token and all forced tokens."""
        self._tried += 1
        matcher = point.matcher.deep_copy()
        matcher.consume_token(token)
        forced = matcher.compute_ff_tokens()
        matcher.consume_tokens(forced)
        tokens = (token, *forced)
        states = self.states(point.state, tokens)
        return _Point(matcher, states[-1], (*point.path, *tokens), "structure" in states[1:])


def _allowed(tokens: Sequence[int], mask: bytes) -> Iterator[int]:
    return (token for token in tokens if mask[token >> 3] >> (token & 7) & 1)


def _some(mask: bytes) -> list[int]:
    """Return a few of the allowed tokens, whichever they are."""
    found = list[int]()
    for at, byte in enumerate(mask):
        if byte:
            found += [8 * at + bit for bit in range(8) if byte >> bit & 1]
            if len(found) >= _MAX_FRONTIER:
                break
    return found


@lru_cache(1)
def _byte_tokenizer() -> tuple[Any, Closer]:
    """Return a tokenizer whose tokens are the bytes, and its closer."""
    from llguidance import LLTokenizer

    return LLTokenizer("byte"), Closer((byte, bytes([byte])) for byte in range(256))
