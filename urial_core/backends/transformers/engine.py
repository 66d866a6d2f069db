"""Engine: requests in, steps of tokens out.

What it knows: token ids, keys and values, rows. What it does not: threads, callers, frameworks.

1. A prompt's constant part is computed once and kept; each page then starts from the longest
   beginning that is kept, and a conversation's next turn from its last.
2. The rows of a batch are brought to one point: each reuses all but its last ``fed`` tokens, with
   ``fed`` the same for all, so that one forward pass feeds them and only left padding is needed.
3. Every further step feeds each row the tokens that it has not read yet, as many as all have: one,
   unless a constraint forces more. Rows that are over leave the batch.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Collection, Generator, Sequence
from functools import cached_property, lru_cache
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache

from urial_core.backends.transformers.json_row import JsonSequence
from urial_core.backends.transformers.page import Page
from urial_core.backends.transformers.prefix_cache import PrefixCache, common_prefix
from urial_core.backends.transformers.row import Row
from urial_core.backends.transformers.scored_page import ChoiceSequence
from urial_core.backends.transformers.slab_cache import CachedPrefix, KVCache, supports_kv_cache
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.completion import CompletionChunk, CompletionRequest
from urial_core.errors import UnsupportedModelError
from urial_core.structured.constraints import Choice, JsonSchema

if TYPE_CHECKING:
    from urial_core.backends.transformers.json_grammar import JsonGrammars

__all__ = ["Engine", "Step"]

Step = list[tuple[int, CompletionChunk]]
"""What one step wrote: the requests' numbers and their chunks. May be empty while reading pages."""

_CHUNK = 256
"""Tokens read in one pass: between passes, a request can be given up."""
_WORTH_KEEPING = 16
"""Tokens of a constant part that must be new for a pass of their own."""
_CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""What models call the state they keep between tokens: transformers is renaming it."""
_LAG = 32
"""Tokens by which a row may need more than its fellows before it is read alone."""


class Engine:
    """Writes replies with a causal language model of transformers."""

    def __init__(
        self,
        model: Any,
        tokenization: Tokenization,
        *,
        prefix_cache_bytes: int,
        max_batch_size: int,
    ) -> None:
        """Take a loaded model in evaluation mode.

        Args:
            model: The model.
            tokenization: Its tokenizer.
            prefix_cache_bytes: Most memory that kept keys and values may take.
            max_batch_size: Most rows in one batch.
        """
        self.prefixes = PrefixCache(prefix_cache_bytes)
        self.model = model
        self._config = model.config.get_text_config(decoder=True)
        self._tokenization = tokenization
        self._end_of_text = _end_of_text(model, tokenization)
        self._constant_ids = lru_cache(8)(lambda text: tuple(tokenization.encode(text)))
        self._too_long = inf if prefix_cache_bytes else 0  # tokens that do not fit what may be kept
        self._reuses = supports_kv_cache(self._config)
        self._max_batch_size = max_batch_size if self._reuses else 1
        accepted = inspect.signature(model.forward).parameters
        found = next((name for name in _CACHE_NAMES if name in accepted), None)
        if found is None:
            raise UnsupportedModelError(
                f"{type(model).__name__} keeps no state between tokens that could be handed to it, "
                "so it cannot continue a text token by token."
            )
        self._cache_name = found
        self._keeps_last = "logits_to_keep" in accepted

    def generate(self, requests: Sequence[CompletionRequest]) -> Generator[Step]:
        """Write replies to all requests, a step at a time; closing it ends the work."""
        rows = [self._row(number, request) for number, request in enumerate(requests)]
        for row in rows:
            row.reused = self.prefixes.match(row.ids)[1]
        for start in range(0, len(rows), self._max_batch_size):
            batch = rows[start : start + self._max_batch_size]
            if self._reuses:
                for row in batch:
                    yield from self._keep_constant(row)
            if choices := [row for row in batch if isinstance(row, ChoiceSequence)]:
                yield from self._choose(choices)
            if replies := [row for row in batch if isinstance(row, Row)]:
                yield from self._write(replies)

    def _row(self, number: int, request: CompletionRequest) -> Row | ChoiceSequence:
        if isinstance(request.constraint, Choice):
            return ChoiceSequence(number, request, self._tokenization)
        if isinstance(request.constraint, JsonSchema) and find_spec("llguidance"):
            text = self._json_grammars.text(request.constraint, request.max_tokens)
            return JsonSequence(number, request, self._tokenization, self._end_of_text, text)
        return Row(number, request, self._tokenization, self._end_of_text)

    @cached_property
    def _json_grammars(self) -> JsonGrammars:
        from urial_core.backends.transformers.json_grammar import JsonGrammars

        return JsonGrammars(self._tokenization, self._config.vocab_size, self._end_of_text)

    def _keep_constant(self, row: Page) -> Generator[Step]:
        """See to it that the constant part of a row's page is kept."""
        constant = self._constant_ids(row.request.prompt[: row.request.prefix_length])
        length = common_prefix(constant, row.ids)  # the last tokens may merge with what follows
        segment, kept = self.prefixes.match(row.ids)
        if length - kept >= _WORTH_KEEPING and length < self._too_long:
            segment = yield from self._read(row.ids[:length], segment, kept)
            if not self.prefixes.add(segment, constant=True):
                self._too_long = length

    def _read(
        self, ids: Sequence[int], segment: CachedPrefix | None, kept: int
    ) -> Generator[Step, None, CachedPrefix]:
        """Compute a token sequence's keys and values, from the first ``kept`` of a segment."""
        cache = KVCache(self._config)
        if segment and kept:
            cache.load([segment], [kept])
        for start in range(kept, len(ids), _CHUNK):
            self._forward(cache, [ids[start : start + _CHUNK]], [start], None)
            yield []
        return cache.segment(0, ids)

    def _choose(self, rows: list[ChoiceSequence]) -> Generator[Step]:
        """Score the options of choices behind their pages; keep the pages for what follows."""
        if not self._reuses:
            for row in rows:
                yield from self._choose_plainly(row)
            return
        cache, first = yield from self._start(rows)
        padding = _padding(rows)
        options = [(index, tail) for index, row in enumerate(rows) for tail in row.tails]
        for start in range(0, len(options), self._max_batch_size):
            part = options[start : start + self._max_batch_size]
            fed = max(len(tail) for _, tail in part) - 1
            following = torch.empty(len(part), 0, first.shape[-1], device=first.device)
            if fed:
                following = self._forward(
                    cache.copy([index for index, _ in part]),
                    [(tail[:-1] + (0,) * fed)[:fed] for _, tail in part],
                    [len(rows[index].ids) for index, _ in part],
                    [padding[index] for index, _ in part],
                    last=fed,
                )
                yield []
            for (index, tail), scores in zip(part, following, strict=True):
                rows[index].score(torch.cat([first[index, None], scores[: len(tail) - 1]]))
        for index, row in enumerate(rows):
            if len(row.ids) < self._too_long:
                self.prefixes.add(cache.segment(index, row.ids, padding[index]))
        yield [(row.number, row.choose()) for row in rows]

    def _choose_plainly(self, row: ChoiceSequence) -> Generator[Step]:
        for tail in row.tails:
            cache = DynamicCache(config=self._config)
            ids = row.ids + tail[:-1]
            row.score(self._forward(cache, [ids], [0], None, last=len(tail))[0])
            yield []
        yield [(row.number, row.choose())]

    def _write(self, rows: list[Row]) -> Generator[Step]:
        cache, logits = yield from self._start(rows)
        padding = _padding(rows)
        active = rows
        fed = 0  # tokens of each reply that the model has read
        try:
            while True:
                yield [
                    (row.number, row.step(scores))
                    for row, scores in zip(active, logits, strict=True)
                    if row.finish is None and len(row.written) == fed
                ]
                going = [index for index, row in enumerate(active) if row.finish is None]
                if not going:
                    return
                if len(going) <= len(active) // 2:
                    cache.keep(going)
                    active = [active[index] for index in going]
                    padding = [padding[index] for index in going]
                unread = [len(row.written) - fed for row in active if row.finish is None]
                count = min(unread) if self._reuses else 1
                logits = self._forward(
                    cache,
                    [[*row.written[fed : fed + count], *[0] * count][:count] for row in active],
                    [len(row.ids) + fed for row in active],
                    padding,
                )[:, -1]
                fed += count
        finally:
            read = (*rows[0].ids, *rows[0].written)
            if len(rows) == 1 and self._reuses and len(read) < self._too_long:
                self.prefixes.add(cache.segment(0, read[: cache.length]))

    def _start(self, rows: Sequence[Page]) -> Generator[Step, None, tuple[Any, torch.Tensor]]:
        """Read the rows' pages, up to the scores of their first tokens."""
        if not self._reuses:
            cache = DynamicCache(config=self._config)  # of such, some read a page in one pass only
            return cache, self._forward(cache, [rows[0].ids], [0], None)[:, -1]
        found = [self.prefixes.match(row.ids) for row in rows]
        needed = [
            len(row.ids) - min(kept, len(row.ids) - 1)
            for row, (_, kept) in zip(rows, found, strict=True)
        ]
        usual = int(statistics.median_low(needed)) + _LAG
        for index, row in enumerate(rows):
            if needed[index] > usual and len(rows) > 1:
                segment, kept = found[index]
                read = yield from self._read(
                    row.ids[:-usual], segment, min(kept, len(row.ids) - usual)
                )
                found[index], needed[index] = (read, len(row.ids) - usual), usual
        fed = max(needed)
        lengths = [max(len(row.ids) - fed, 0) for row in rows]
        slab = KVCache(self._config)
        segments = [segment for segment, _ in found if segment]
        if max(lengths) > 0:
            slab.load([segment or segments[0] for segment, _ in found], lengths)
        logits = yield from self._feed(slab, rows, fed, _padding(rows))
        return slab, logits

    def _feed(
        self, cache: Any, rows: Sequence[Page], fed: int, padding: list[int]
    ) -> Generator[Step, None, torch.Tensor]:
        """Feed the last ``fed`` tokens of each row's page; return the last scores."""
        texts = [(0,) * max(fed - len(row.ids), 0) + row.ids[-fed:] for row in rows]
        starts = [len(row.ids) - fed for row in rows]
        logits = torch.empty(0)
        for at in range(0, fed, _CHUNK):
            if at:
                yield []
            part = [text[at : at + _CHUNK] for text in texts]
            logits = self._forward(cache, part, [start + at for start in starts], padding)[:, -1]
        return logits

    @torch.inference_mode()
    def _forward(
        self,
        cache: Any,
        tokens: Sequence[Sequence[int]],
        starts: Sequence[int],
        padding: Sequence[int] | None,
        last: int = 1,
    ) -> torch.Tensor:
        """Feed each row tokens that stand from ``starts`` on.

        Returns:
            The scores behind the ``last`` of them, [rows, last, vocabulary].
        """
        device = self.model.device
        ids = torch.tensor(tokens, device=device)
        span = torch.arange(ids.shape[1], device=device)
        positions = (torch.tensor(starts, device=device)[:, None] + span).clamp(min=0)
        mask = None
        if padding and any(padding):
            columns = torch.arange(cache.length + ids.shape[1], device=device)
            mask = (columns >= torch.tensor(padding, device=device)[:, None]).long()
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            **{self._cache_name: cache},
            use_cache=True,
            **({"logits_to_keep": last} if self._keeps_last else {}),
        )
        scores: torch.Tensor = output.logits[:, -last:].float()  # half precision is slow to search
        return scores


def _end_of_text(model: Any, tokenization: Tokenization) -> Collection[int]:
    declared = getattr(model.generation_config, "eos_token_id", None)
    ids = declared if isinstance(declared, list) else [declared]
    return {token for token in (*ids, tokenization.end_of_text) if token is not None}


def _padding(rows: Sequence[Page]) -> list[int]:
    """Columns to fill on the left of each page, so that all end together."""
    longest = max(len(row.ids) for row in rows)
    return [longest - len(row.ids) for row in rows]
