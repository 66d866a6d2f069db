"""Turn requests into steps of tokens, with prefix caching and batches.

The engine knows token ids, KV caches and sequences; threads and callers are ``model``'s subject.

1. A prompt prefix is computed once and pinned in the prefix cache; each prompt then starts from the
   longest prefix that is cached, and a conversation's next turn from its last.
2. The sequences of a batch are brought to one point: each reuses all but its last ``fed`` tokens,
   with ``fed`` the same for all, so that one forward pass feeds them and only left padding is
   needed.
3. Every further step feeds each sequence the tokens that it has not read yet, as many as all have:
   one, unless a constraint forces more. Sequences that are over leave the batch.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Generator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from urial_core.backends.transformers.json_grammar import JsonGrammars
from urial_core.backends.transformers.kv_cache import CachedPrefix, KVCache, PrefixCache
from urial_core.backends.transformers.sequence import (
    ChoiceSequence,
    JsonSequence,
    PromptSequence,
    ReplySequence,
)
from urial_core.backends.transformers.tokenization import Tokenization, common_prefix
from urial_core.completion import CompletionChunk, CompletionRequest
from urial_core.errors import UnsupportedModelError
from urial_core.structured.constraints import Choice, JsonSchema

__all__ = ["Engine", "Step"]

Step = list[tuple[int, CompletionChunk]]
"""What one step generated: requests' numbers and chunks. May be empty while prompts are read."""

_PREFILL_CHUNK = 256
"""Tokens read in one pass: a request can be cancelled between passes."""
_MIN_NEW_PREFIX = 16
"""Tokens of a prompt prefix that must be new to be worth a pass of their own."""
_CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""How models name the state they keep between tokens: transformers is renaming it."""
_MAX_LAG = 32
"""Tokens by which a sequence may need more than the batch's median before it is read alone."""


class Engine:
    """Generates replies with a causal language model of transformers."""

    def __init__(
        self, model: Any, tokenization: Tokenization, prefix_cache_bytes: int, max_batch_size: int
    ) -> None:
        """Take a loaded model in evaluation mode.

        Args:
            model: The model.
            tokenization: Its tokenizer.
            prefix_cache_bytes: Most memory that the prefix cache may take.
            max_batch_size: Most sequences in one batch.
        """
        self.model = model
        self._config = config = model.config.get_text_config(decoder=True)
        self._tokenization = tokenization
        tokenization.add_end_of_text(getattr(model.generation_config, "eos_token_id", None))
        unknown = tokenization.unknown(config.vocab_size)
        self._unknown = torch.tensor(unknown, dtype=torch.long, device=model.device)
        self._json_grammars = lru_cache(1)(lambda: JsonGrammars(tokenization, config.vocab_size))
        self._prefix_ids = lru_cache(8)(lambda text: tuple(tokenization.encode(text)))
        self._caches = KVCache(config).is_plain
        self.prefixes = PrefixCache(prefix_cache_bytes if self._caches else 0)
        self._max_batch_size = max_batch_size if self._caches else 1
        accepted = inspect.signature(model.forward).parameters
        self._cache_name = next((name for name in _CACHE_NAMES if name in accepted), "")
        if not self._cache_name:
            raise UnsupportedModelError(
                f"{type(model).__name__} keeps no state between tokens that could be passed to it, "
                "so it cannot continue a text token by token."
            )
        self._takes_logits_to_keep = "logits_to_keep" in accepted

    def generate(self, requests: Sequence[CompletionRequest]) -> Generator[Step]:
        """Generate replies to all requests, a step at a time; closing it cancels them."""
        sequences = [self._sequence(number, request) for number, request in enumerate(requests)]
        for sequence in sequences:
            sequence.cached_tokens = self.prefixes.match(sequence.ids)[1]
        for start in range(0, len(sequences), self._max_batch_size):
            batch = sequences[start : start + self._max_batch_size]
            for sequence in batch:
                yield from self._cache_prompt_prefix(sequence)
            if choices := [s for s in batch if isinstance(s, ChoiceSequence)]:
                yield from self._score(choices)
            if replies := [s for s in batch if isinstance(s, ReplySequence)]:
                yield from self._decode(replies)

    def _sequence(self, number: int, request: CompletionRequest) -> ReplySequence | ChoiceSequence:
        constraint = request.constraint
        if isinstance(constraint, Choice):
            return ChoiceSequence(number, request, self._tokenization, constraint)
        if isinstance(constraint, JsonSchema) and find_spec("llguidance"):
            text = self._json_grammars().text(constraint, request.max_tokens)
            return JsonSequence(number, request, self._tokenization, text)
        return ReplySequence(number, request, self._tokenization)

    def _cache_prompt_prefix(self, sequence: PromptSequence) -> Generator[Step]:
        """Make sure that a sequence's prompt prefix is cached."""
        request, ids = sequence.request, sequence.ids
        prefix_ids = self._prefix_ids(request.prompt[: request.prefix_length])
        length = common_prefix(prefix_ids, ids)  # the last tokens may merge with what follows
        cached, reused = self.prefixes.match(ids)
        if length - reused >= _MIN_NEW_PREFIX and length < self.prefixes.too_long:
            cached = yield from self._prefill(ids[:length], cached, reused)
            self.prefixes.add(cached, pinned=True)

    def _prefill(
        self, ids: Sequence[int], cached: CachedPrefix | None, reused: int
    ) -> Generator[Step, None, CachedPrefix]:
        """Compute the keys and values of tokens, of which the first ``reused`` are cached."""
        cache = KVCache(self._config)
        if cached and reused:
            cache.load([cached], [reused])
        yield from self._read(cache, [ids[reused:]])
        yield []
        return cache.cached_prefix(0, ids)

    def _read(
        self, cache: KVCache, tokens: Sequence[Sequence[int]]
    ) -> Generator[Step, None, torch.Tensor]:
        """Feed each sequence equally many tokens; return the last logits, [batch, vocabulary]."""
        logits = torch.empty(0)
        # Some models with other state than a KV cache can read a prompt in one pass only.
        chunk = _PREFILL_CHUNK if self._caches else len(tokens[0])
        for at in range(0, len(tokens[0]), chunk):
            if at:
                yield []
            logits = self._forward(cache, [ids[at : at + chunk] for ids in tokens])[:, -1]
        return logits

    def _score(self, sequences: list[ChoiceSequence]) -> Generator[Step]:
        """Score the options of choices after their prompts, and cache the prompts."""
        if not self._caches:
            for sequence in sequences:
                for tail in sequence.tails:
                    ids = sequence.ids + tail[:-1]
                    sequence.score(self._forward(KVCache(self._config), [ids], len(tail))[0])
                    yield []
        else:
            cache, first = yield from self._start(sequences)
            options = [(index, tail) for index, s in enumerate(sequences) for tail in s.tails]
            for start in range(0, len(options), self._max_batch_size):
                part = options[start : start + self._max_batch_size]
                fed = max(len(tail) for _, tail in part) - 1
                following = torch.empty(len(part), 0, first.shape[-1], device=first.device)
                if fed:
                    following = self._forward(
                        cache.copy([index for index, _ in part]),
                        [(tail[:-1] + (0,) * fed)[:fed] for _, tail in part],
                        last=fed,
                    )
                    yield []
                for (index, tail), logits in zip(part, following, strict=True):
                    sequences[index].score(torch.cat([first[index, None], logits[: len(tail) - 1]]))
            for index, sequence in enumerate(sequences):
                if len(sequence.ids) < self.prefixes.too_long:
                    self.prefixes.add(cache.cached_prefix(index, sequence.ids))
        yield [(sequence.number, sequence.choose()) for sequence in sequences]

    def _decode(self, sequences: list[ReplySequence]) -> Generator[Step]:
        """Decode replies token by token, and cache a single reply's conversation."""
        cache, logits = yield from self._start(sequences)
        active = sequences
        fed = 0  # tokens of each reply that the model has read
        try:
            while True:
                yield [
                    (sequence.number, sequence.step(scores))
                    for sequence, scores in zip(active, logits, strict=True)
                    if sequence.finish is None and len(sequence.written) == fed
                ]
                going = [index for index, s in enumerate(active) if s.finish is None]
                if not going:
                    return
                if len(going) <= len(active) // 2:
                    cache.select(going)
                    active = [active[index] for index in going]
                unread = [len(s.written) - fed for s in active if s.finish is None]
                count = min(unread) if self._caches else 1
                tokens = [[*s.written[fed : fed + count], *[0] * count][:count] for s in active]
                logits = self._forward(cache, tokens)[:, -1]
                fed += count
        finally:
            read = (*sequences[0].ids, *sequences[0].written)
            if len(sequences) == 1 and len(read) < self.prefixes.too_long:
                self.prefixes.add(cache.cached_prefix(0, read[: cache.length]))

    def _start(
        self, sequences: Sequence[PromptSequence]
    ) -> Generator[Step, None, tuple[KVCache, torch.Tensor]]:
        """Read the prompts; return the cache and the logits of each reply's first token."""
        found = [self.prefixes.match(s.ids) for s in sequences]
        needed = [
            len(s.ids) - min(reused, len(s.ids) - 1)
            for s, (_, reused) in zip(sequences, found, strict=True)
        ]
        usual = int(statistics.median_low(needed)) + _MAX_LAG
        for index, sequence in enumerate(sequences):
            if needed[index] > usual and len(sequences) > 1:
                ids = sequence.ids[:-usual]
                cached, reused = found[index]
                prefix = yield from self._prefill(ids, cached, min(reused, len(ids)))
                found[index], needed[index] = (prefix, len(ids)), usual
        fed = max(needed)
        lengths = [max(len(s.ids) - fed, 0) for s in sequences]
        longest = max(len(s.ids) for s in sequences)
        cache = KVCache(self._config, [longest - len(s.ids) for s in sequences])
        prefixes = [cached for cached, _ in found if cached]
        if max(lengths) > 0:
            cache.load([cached or prefixes[0] for cached, _ in found], lengths)
        tokens = [(0,) * max(fed - len(s.ids), 0) + s.ids[-fed:] for s in sequences]
        return cache, (yield from self._read(cache, tokens))

    @torch.inference_mode()
    def _forward(
        self, cache: KVCache, tokens: Sequence[Sequence[int]], last: int = 1
    ) -> torch.Tensor:
        """Feed each sequence tokens; return the logits after the ``last`` of them.

        Returns:
            The logits, [batch, last, vocabulary].
        """
        device = self.model.device
        ids = torch.tensor(tokens, device=device)
        columns = torch.arange(cache.length + ids.shape[1], device=device)
        places = columns - torch.tensor(cache.padding, device=device)[:, None]
        positions = places[:, cache.length :].clamp(min=0)
        mask = (places >= 0).long() if any(cache.padding) else None
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            **{self._cache_name: cache},
            use_cache=True,
            **({"logits_to_keep": last} if self._takes_logits_to_keep else {}),
        )
        cache.length += ids.shape[1]
        logits: torch.Tensor = output.logits[:, -last:].float()  # half precision is slow to search
        return logits.index_fill(-1, self._unknown, -torch.inf) if len(self._unknown) else logits
