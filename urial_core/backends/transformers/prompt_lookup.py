"""Draft tokens that a reply copies from its own prompt.

Answers from documents, arguments of tools and repeated names are copies. Where a reply's last
tokens occurred before, what followed them there is likely to follow again; the model checks such a
draft in one pass, which takes little longer than a pass for one token, and the reply is the same
(prompt lookup decoding, Saxena 2023; the case of speculative decoding, arXiv 2211.17192, whose
draft costs nothing).
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["PromptLookup"]

_MATCHED = 3
"""Tokens that must have occurred before."""
_DRAFTED = 8
"""Most tokens of a draft."""
_LONGEST_PAUSE = 32
"""Most tokens between two drafts."""


class PromptLookup:
    """Drafts a sequence's next tokens, as long as drafts turn out to be right."""

    def __init__(self, ids: Iterable[int]) -> None:
        """Take the prompt's tokens."""
        self._tokens = list[int]()
        self._following = dict[tuple[int, ...], int]()
        self._pause = 0  # tokens to let pass before the next draft
        self._next_pause = 1
        for token in ids:
            self._append(token)

    def accept(self, token: int) -> None:
        """Append a token of the reply."""
        self._append(token)
        self._pause -= 1

    def draft(self) -> list[int]:
        """Return what followed the last tokens where they last occurred; may be empty."""
        if self._pause > 0:
            return []
        at = self._following.get(tuple(self._tokens[-_MATCHED:]))
        return [] if at is None else self._tokens[at : at + _DRAFTED]

    def report(self, right: int) -> None:
        """Learn how many tokens of the last draft were right: after a failure, wait longer."""
        if right:
            self._next_pause = 1
        else:
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)

    def _append(self, token: int) -> None:
        if len(self._tokens) >= _MATCHED:
            self._following[tuple(self._tokens[-_MATCHED:])] = len(self._tokens)
        self._tokens.append(token)
