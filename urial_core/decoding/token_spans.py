"""Which of a completion's tokens make up a piece of the reply."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from urial_core.completion import TokenLogprob

__all__ = ["TokenSpans"]

_SLACK = 1
"""Characters by which an engine may misplace a token: some leave out the space before a word."""


class TokenSpans:
    """Assigns log-probabilities to the text of a reply, by where its tokens are in the raw text.

    A reply is made of the raw text's characters, in order. Decoders leave some of them out, so each
    piece of the reply is found in the raw text again, from the end of the piece before. It has the
    tokens that begin before its end; the first piece, those that end after its start. So each token
    is returned once, those of text that was left out within the reply (escapes) included.

    A token is looked for where the one before ends. One that is not there is a part of a character,
    or is spelled in an engine's own way: the next one that is found shows how far it reaches.
    """

    def __init__(self) -> None:
        self._pieces = list[str]()  # the raw text from the end of the reply's last piece on
        self._tokens = deque[TokenLogprob]()
        self._at = 0  # where the next token is expected, from there as well
        self._unplaced = 0  # characters of the tokens before it that were not found
        self._skipped: int | None = 0  # raw characters that precede the reply; None once it begins

    def feed(self, text: str, logprobs: Sequence[TokenLogprob]) -> None:
        """Take more of the raw text, and the tokens that came with it."""
        if logprobs or self._pieces:  # most replies are asked for none
            self._pieces.append(text)
            self._tokens += logprobs

    def skip(self, characters: int) -> None:
        """Note that so many further characters of the raw text precede the reply."""
        if self._skipped is not None:
            self._skipped += characters

    def take(self, text: str) -> tuple[TokenLogprob, ...]:
        """Return the tokens of the next piece of the reply."""
        if not text:
            return ()
        if not self._pieces:
            self._skipped = None
            return ()
        raw = "".join(self._pieces)
        start, end = 0, self._skipped or 0
        for character in text:
            found = raw.find(character, end)
            if found < 0:  # added by a decoder
                break
            if self._skipped is not None:
                start, self._skipped = found, None
            end = found + 1
        taken = list[TokenLogprob]()
        while self._tokens and self._at < end:
            token = self._tokens[0].token
            found = self._find(token, raw)
            if found >= end:
                self._at, self._unplaced = found, 0
                break
            taken.append(self._tokens.popleft())
            if found < 0:
                self._unplaced += len(token) or 1
                continue
            self._at, self._unplaced = found + len(token), 0
            if self._at <= start:
                taken.clear()
        self._pieces = [raw[end:]]
        self._at, self._unplaced = max(self._at - end, 0), 0
        return tuple(taken)

    def _find(self, token: str, raw: str) -> int:
        """Return where a token begins in the raw text; -1 if it is not where it may be."""
        if not token:
            return -1
        if 0 < len(raw) - self._at < len(token) and token.startswith(raw[self._at :]):
            return self._at  # the rest of its text is to come
        return raw.find(token, self._at, self._at + self._unplaced + _SLACK + len(token))
