"""Attend to the prefix that all sequences of a batch share by one copy of its keys and values.

A step that adds a token to each sequence otherwise reads the keys and values of every sequence from
memory, and those of a prompt prefix are most of them. Here the queries of all sequences are
multiplied with the prefix's keys as one matrix, which gives the same scores (Hydragen, arXiv
2402.05099, section 3.1).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SharedPrefix", "shared_prefix"]

_MIN_TOKENS = 64
"""A prefix that is shorter is no faster to attend to on its own."""

_current: ContextVar[SharedPrefix | None] = ContextVar("shared_prefix", default=None)


def shared_prefix() -> SharedPrefix | None:
    """Return the prefix that the batch of the forward pass in progress shares, if it is known."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Where the sequences of a KV cache, aligned at their right ends, have the tokens they share.

    Attributes:
        tokens: How many tokens all of them begin with.
        starts: For each sequence, the column of its first token.
        columns: All columns of the cache, with that of the new token.
    """

    tokens: int
    starts: Sequence[int]
    columns: int

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Have the attention of the forward passes inside find the prefix, if it is worth it."""
        worth_it = len(self.starts) > 1 and self.tokens >= _MIN_TOKENS
        token = _current.set(self if worth_it else None)
        try:
            yield
        finally:
            _current.reset(token)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None
    ) -> Tensor:
        """Attend with one new token of each sequence.

        Args:
            query: [batch, groups, heads of a group, dim].
            key: Of the cache's last columns, as many as the layer attends to, [batch, groups,
                columns, dim].
            value: The same.
            mask: [batch, 1, 1, columns], true where a sequence may attend; None: everywhere.
            scale: What scores are multiplied with; None: one by the square root of ``dim``.

        Returns:
            The same shape as the query's.
        """
        batch, groups, heads, dim = query.shape
        before = self.columns - key.shape[2]
        starts = torch.tensor([start - before for start in self.starts], device=key.device)
        longest, shortest = int(starts.argmax()), int(starts.min())
        begin = int(starts[longest])
        first = min(max(-begin, 0), self.tokens)  # earlier tokens are out of any sequence's sight
        count = self.tokens - first
        shared = slice(max(begin, 0), max(begin, 0) + count)
        own = slice(max(shortest + self.tokens, 0), key.shape[2])

        query = query * (dim**-0.5 if scale is None else scale)
        together = query.transpose(0, 1).reshape(groups, batch * heads, dim)
        scores = torch.matmul(together, key[longest, :, shared].mT)
        scores = scores.view(groups, batch, heads, count).transpose(0, 1)
        scores = torch.cat([scores, torch.matmul(query, key[:, :, own].mT)], -1).float()
        visible = self._visible(starts[:, None], first, own, mask)
        weights = scores.masked_fill_(~visible, -torch.inf).softmax(-1).to(value.dtype)
        to_prefix, to_own = weights[..., :count], weights[..., count:]
        together = to_prefix.transpose(0, 1).reshape(groups, batch * heads, count)
        attended = torch.matmul(together, value[longest, :, shared])
        attended = attended.view(groups, batch, heads, -1).transpose(0, 1)
        return attended + torch.matmul(to_own, value[:, :, own])

    def _visible(self, starts: Tensor, first: int, own: slice, mask: Tensor | None) -> Tensor:
        """Return which tokens of the prefix, and which columns after it, may be attended to."""
        columns = starts + torch.arange(first, self.tokens, device=starts.device)
        of_prefix = columns >= 0
        of_own = torch.arange(own.start, own.stop, device=starts.device) >= starts + self.tokens
        if mask is not None:
            allowed = mask[:, 0, 0].expand(len(starts), -1)
            of_prefix = of_prefix & allowed.gather(1, columns.clamp(min=0))
            of_own = of_own & allowed[:, own]
        return torch.cat([of_prefix, of_own], 1)[:, None, None]
