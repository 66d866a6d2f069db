"""Read prompts (prefill): a pass at a time, so that replies can be decoded in between.

1. A prompt prefix is computed once, stored on disk and pinned in the prefix cache; each prompt then
   starts from the longest prefix that is cached, and a conversation's next turn from its last.
2. The sequences of a group are brought to one point: each reuses all but its last ``fed`` tokens,
   with ``fed`` the same for all, so that one forward pass feeds them and only left padding is
   needed.
"""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from functools import lru_cache

import torch

from urial_core.backends.transformers.forward import Forward
from urial_core.backends.transformers.kv_cache import KVCache
from urial_core.backends.transformers.prefix_store import PrefixStore
from urial_core.backends.transformers.prefix_tree import Match, PrefixTree
from urial_core.backends.transformers.sequence import ChoiceSequence, PromptSequence
from urial_core.backends.transformers.tokenization import Tokenization, common_prefix
from urial_core.backends.transformers.weights import weights_of

__all__ = ["PromptReader"]

_MIN_NEW_PREFIX = 16
"""Tokens of a prompt prefix that must be new to be worth a pass of their own."""
_MIN_STORED_PREFIX = 256
"""Tokens of a prompt prefix that take longer to compute than to read from disk."""
_MAX_LAG = 32
"""Tokens by which a sequence may need more than the group's median before it is read alone."""
_OPTIONS_TOGETHER = 16
"""Options of choices that are scored in one pass: each has a copy of its prompt's KV cache."""


class PromptReader:
    """Reads prompts from the longest prefix that is cached.

    Attributes:
        pass_tokens: Most tokens of all sequences together in one pass.
    """

    def __init__(
        self,
        forward: Forward,
        prefixes: PrefixTree,
        tokenization: Tokenization,
        store: PrefixStore | None = None,
    ) -> None:
        """Take the model, its prefix cache, its tokenizer, and where prompt prefixes are stored."""
        self.pass_tokens = 1
        self._forward = forward
        self._prefixes = prefixes
        self._store = store
        self._prefix_ids = lru_cache(8)(lambda text: tuple(tokenization.encode(text)))

    def read(
        self, sequences: Sequence[PromptSequence]
    ) -> Generator[None, None, tuple[KVCache, torch.Tensor]]:
        """Read the prompts of a group; yield between passes.

        Returns:
            The group's KV cache, and the logits that follow each prompt, [batch, vocabulary].
        """
        weights = weights_of(self._forward.model)
        if weights != self._prefixes.weights:
            self._prefixes.use_for(weights)
        for sequence in sequences:
            sequence.weights = weights
            self._restore_prompt_prefix(sequence)
            sequence.cached_tokens = self._prefixes.match(sequence.ids).length
        for sequence in sequences:
            yield from self._cache_prompt_prefix(sequence)
        found = [self._prefixes.match(sequence.ids) for sequence in sequences]
        needed = [
            len(s.ids) - min(match.length, len(s.ids) - 1)
            for s, match in zip(sequences, found, strict=True)
        ]
        usual = int(statistics.median_low(needed)) + _MAX_LAG
        for index, sequence in enumerate(sequences):
            if needed[index] > usual and len(sequences) > 1:
                ids = sequence.ids[:-usual]
                cache = yield from self._prefill(ids, found[index])
                found[index] = Match(len(ids), (cache.keys_and_values(0, len(ids)),))
                needed[index] = usual
        fed = max(needed)
        lengths = [max(len(s.ids) - fed, 0) for s in sequences]
        longest = max(len(s.ids) for s in sequences)
        cache = self._forward.new_cache([longest - len(s.ids) for s in sequences])
        if max(lengths) > 0:
            cache.load(found, lengths)
        tokens = [(0,) * max(fed - len(s.ids), 0) + s.ids[-fed:] for s in sequences]
        return cache, (yield from self._feed(cache, tokens))

    def score(self, sequences: Sequence[ChoiceSequence]) -> Generator[None]:
        """Score the options of choices after their prompts, and cache the prompts."""
        if not self._forward.batches:
            for sequence in sequences:
                for tail in sequence.tails:
                    ids = sequence.ids + tail[:-1]
                    sequence.score(self._forward(self._forward.new_cache(), [ids], len(tail))[0])
                    yield
            return
        cache, first = yield from self.read(sequences)
        options = [(index, tail) for index, s in enumerate(sequences) for tail in s.tails]
        for start in range(0, len(options), _OPTIONS_TOGETHER):
            part = options[start : start + _OPTIONS_TOGETHER]
            fed = max(len(tail) for _, tail in part) - 1
            following = torch.empty(len(part), 0, first.shape[-1], device=first.device)
            if fed:
                following = self._forward(
                    cache.copy([index for index, _ in part]),
                    [(tail[:-1] + (0,) * fed)[:fed] for _, tail in part],
                    last=fed,
                )
                yield
            for (index, tail), logits in zip(part, following, strict=True):
                sequences[index].score(torch.cat([first[index, None], logits[: len(tail) - 1]]))
        for index, sequence in enumerate(sequences):
            layers = cache.keys_and_values(index, len(sequence.ids))
            self._prefixes.add(sequence.ids, layers, weights=sequence.weights)

    def _restore_prompt_prefix(self, sequence: PromptSequence) -> None:
        """Cache a sequence's prompt prefix, if it is new and stored on disk."""
        length = self._new_prefix(sequence)
        if self._store is None or length < _MIN_STORED_PREFIX:
            return
        ids = sequence.ids[:length]
        if layers := self._store.load(ids):
            self._prefixes.add(ids, layers, weights=sequence.weights, pinned=True)

    def _cache_prompt_prefix(self, sequence: PromptSequence) -> Generator[None]:
        """Compute, cache and store a sequence's prompt prefix, if it is new."""
        if not (length := self._new_prefix(sequence)):
            return
        ids = sequence.ids[:length]
        cache = yield from self._prefill(ids, self._prefixes.match(ids))
        layers = cache.keys_and_values(0, length)
        if weights_of(self._forward.model) != sequence.weights:
            return  # they changed in between
        self._prefixes.add(ids, layers, weights=sequence.weights, pinned=True)
        if self._store is not None and length >= _MIN_STORED_PREFIX:
            self._store.save(ids, layers)

    def _new_prefix(self, sequence: PromptSequence) -> int:
        """Return the length of a sequence's prompt prefix; 0 if it is cached, or not to be."""
        request, ids = sequence.request, sequence.ids
        prefix_ids = self._prefix_ids(request.prompt[: request.prefix_length])
        length = common_prefix(prefix_ids, ids)  # the last tokens may merge with what follows
        is_new = length - self._prefixes.match(ids).length >= _MIN_NEW_PREFIX
        return length if is_new and self._prefixes.fits(length) else 0

    def _prefill(self, ids: Sequence[int], match: Match) -> Generator[None, None, KVCache]:
        """Compute the keys and values of tokens, of which some are cached."""
        cache = self._forward.new_cache()
        reused = min(match.length, len(ids))
        if reused:
            cache.load([match], [reused])
        yield from self._feed(cache, [ids[reused:]])
        yield
        return cache

    def _feed(
        self, cache: KVCache, tokens: Sequence[Sequence[int]]
    ) -> Generator[None, None, torch.Tensor]:
        """Feed each sequence equally many tokens; return the last logits, [batch, vocabulary]."""
        logits = torch.empty(0)
        at = 0
        while at < len(tokens[0]):
            if at:
                yield
            # Some models with other state than a KV cache can read a prompt in one pass only.
            columns = max(self.pass_tokens // len(tokens), 1)
            end = at + columns if self._forward.batches else len(tokens[0])
            logits = self._forward(cache, [ids[at:end] for ids in tokens])[:, -1]
            at = end
        return logits
