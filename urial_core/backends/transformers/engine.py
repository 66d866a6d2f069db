"""Continuous batching: requests join and leave the batch between two steps.

The engine knows token ids, KV caches and sequences; threads and callers are ``model``'s subject.
One step reads a pass of the prompts that wait, then generates a token of each reply in progress.

1. Requests that arrive together are read as one group (see ``prompt_reader``), a pass in each
   step, so that a long prompt delays the replies in progress by little. Several groups take turns.
2. Once it is read, a group joins the batch. Each step feeds each sequence the tokens that it has
   not read yet, as many as all have: one, unless a constraint forces more.
3. A sequence whose reply is over, or that nobody waits for, leaves at once, and the keys and values
   of its conversation stay in the prefix cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from urial_core.backends.transformers.cuda_graphs import CudaGraphs
from urial_core.backends.transformers.forward import Forward
from urial_core.backends.transformers.json_grammar import JsonGrammars
from urial_core.backends.transformers.kv_cache import KVCache
from urial_core.backends.transformers.packed_linear import are_packed
from urial_core.backends.transformers.prefix_store import PrefixStore
from urial_core.backends.transformers.prefix_tree import PrefixTree
from urial_core.backends.transformers.prompt_reader import PromptReader
from urial_core.backends.transformers.sampling import Best, best_logits
from urial_core.backends.transformers.sequence import (
    ChoiceSequence,
    JsonSequence,
    PromptSequence,
    Receiver,
    ReplySequence,
)
from urial_core.backends.transformers.tokenization import Tokenization, common_prefix
from urial_core.backends.transformers.weights import weights_of
from urial_core.completion import CompletionRequest
from urial_core.structured.constraints import Choice, JsonSchema

__all__ = ["Engine"]

_PASS_TOKENS = 512
"""Most tokens of prompts in one pass: a request can be cancelled between passes."""
_PASS_TOKENS_BESIDE_REPLIES = 64
"""The same while replies are decoded: such a pass takes about as long as two of their steps."""
_GPU_PASSES = 8
"""How many times as many tokens a GPU reads in one pass."""


@dataclass(eq=False)
class _Group:
    """Sequences whose prompts are being read together."""

    sequences: Sequence[PromptSequence]
    passes: Generator[None]


@dataclass(eq=False)
class _Batch:
    """Sequences whose replies are being decoded together."""

    sequences: list[ReplySequence]
    cache: KVCache

    def find_shared_prefix(self) -> None:
        """Find what the prompts of all sequences begin with."""
        first, *others = [sequence.ids for sequence in self.sequences] or [()]
        for ids in others:
            if ids[: len(first)] != first:
                first = first[: common_prefix(first, ids)]
        self.cache.shared_tokens = len(first)


class Engine:
    """Generates replies with a causal language model of transformers, all in the same steps.

    Attributes:
        model: The model of transformers.
        tokenization: Its tokenizer.
        forward: Its forward passes.
        prefixes: The prefix cache.
    """

    def __init__(
        self,
        model: Any,
        tokenization: Tokenization,
        prefix_cache_bytes: int,
        max_batch_size: int | None,
        *,
        prefix_on_disk: bool = False,
    ) -> None:
        """Take a loaded model in evaluation mode.

        Args:
            model: The model.
            tokenization: Its tokenizer.
            prefix_cache_bytes: Most memory that the prefix cache may take.
            max_batch_size: Most sequences in progress; further ones wait for their turn. None: as
                many as suit the device.
            prefix_on_disk: Whether prompt prefixes are stored for other processes.

        Raises:
            UnsupportedModelError: The model keeps no state between tokens.
        """
        self.model = model
        tokenization.add_end_of_text(getattr(model.generation_config, "eos_token_id", None))
        self.forward = Forward(model, tokenization)
        self.tokenization = tokenization
        self._json_grammars = lru_cache(1)(
            lambda: JsonGrammars(tokenization, self.forward.vocab_size)
        )
        self.prefixes = PrefixTree(prefix_cache_bytes if self.forward.batches else 0)
        stores = prefix_on_disk and self.prefixes.max_bytes > 0
        store = PrefixStore(self.forward) if stores else None
        self._reader = PromptReader(self.forward, self.prefixes, tokenization, store)
        self._max_batch_size = max_batch_size or self.forward.suitable_batch_size()
        # A pass for a few tokens must take about as long as one for one token.
        fast = model.device.type != "cpu" or are_packed(model)
        self._drafts = self.forward.batches and fast
        self._waiting = deque[PromptSequence]()
        self._groups = deque[_Group]()
        self._batches = list[_Batch]()
        self._graphs = CudaGraphs(self.forward)
        self._graphs_weights = weights_of(model)
        self._idle: KVCache | None = None  # of a batch that is over: its graphs serve the next

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._groups or self._batches)

    def add(self, request: CompletionRequest, receiver: Receiver) -> None:
        """Add a request, whose chunks go to the receiver as they are generated."""
        self._waiting.append(self._sequence(request, receiver))

    @torch.inference_mode()
    def step(self) -> None:
        """Read a pass of prompts, and generate a token of each reply in progress."""
        self._start_groups()
        decoding = bool(self._batches)
        tokens = _PASS_TOKENS_BESIDE_REPLIES if decoding else _PASS_TOKENS
        on_gpu = self.model.device.type == "cuda"
        self._reader.pass_tokens = tokens * _GPU_PASSES if on_gpu else tokens
        if self._groups:
            self._advance(self._groups.popleft())
        for batch in list(self._batches):
            try:
                self._decode(batch)
            except Exception as error:  # noqa: BLE001 - the callers' affair
                self._batches.remove(batch)
                _fail(batch.sequences, error)

    def fail(self, error: Exception) -> None:
        """End all requests with an error."""
        _fail(self._waiting, error)
        for group in self._groups:
            group.passes.close()
            _fail(group.sequences, error)
        for batch in self._batches:
            _fail(batch.sequences, error)
        self._waiting.clear()
        self._groups.clear()
        self._batches.clear()

    def _sequence(self, request: CompletionRequest, receiver: Receiver) -> PromptSequence:
        constraint = request.constraint
        if isinstance(constraint, Choice):
            return ChoiceSequence(request, receiver, self.tokenization, constraint)
        if isinstance(constraint, JsonSchema) and find_spec("llguidance"):
            text = self._json_grammars().text(constraint, request.max_tokens)
            return JsonSequence(request, receiver, self.tokenization, text)
        return ReplySequence(request, receiver, self.tokenization)

    def _start_groups(self) -> None:
        """Begin to read the prompts that wait, as far as there is room."""
        reading = sum(len(group.sequences) for group in self._groups)
        room = self._max_batch_size - reading - sum(len(b.sequences) for b in self._batches)
        replies, choices = list[ReplySequence](), list[ChoiceSequence]()
        while self._waiting and len(replies) + len(choices) < room:
            sequence = self._waiting.popleft()
            if isinstance(sequence, ReplySequence):
                replies.append(sequence)
            elif isinstance(sequence, ChoiceSequence):
                choices.append(sequence)
        if choices:
            self._groups.append(_Group(choices, self._choose(choices)))
        size = len(replies) if self.forward.batches else 1
        for start in range(0, len(replies), size or 1):
            group = replies[start : start + size]
            self._groups.append(_Group(group, self._begin(group)))

    def _advance(self, group: _Group) -> None:
        """Read a pass of a group's prompts."""
        if all(sequence.receiver.cancelled for sequence in group.sequences):
            group.passes.close()
            return
        try:
            next(group.passes)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - the callers' affair
            _fail(group.sequences, error)
            return
        self._groups.append(group)

    def _choose(self, sequences: Sequence[ChoiceSequence]) -> Generator[None]:
        yield from self._reader.score(sequences)
        for sequence in sequences:
            sequence.receiver.receive(sequence.choose())

    def _begin(self, sequences: Sequence[ReplySequence]) -> Generator[None]:
        """Read prompts, generate the first token of each reply, and join the batch."""
        cache, logits = yield from self._reader.read(sequences)
        if self._graphs_weights != self.prefixes.weights:
            self._graphs_weights = self.prefixes.weights
            self._graphs, self._idle = CudaGraphs(self.forward), None  # adapters are captured too
        _generate_all(sequences, logits)
        going = self._leave(_Batch(list(sequences), cache))
        if not going.sequences:
            return
        if any(cache.length > batch.cache.length for batch in self._batches):
            yield  # the batch must be moved, which may take as long as a pass
        if self._idle is not None:
            self._batches.append(_Batch([], self._idle))
            self._idle = None
        if self.forward.batches and self._batches:
            (batch,) = self._batches
            batch.cache.join(going.cache)
            batch.sequences += going.sequences
            batch.find_shared_prefix()
        else:
            self._batches.append(going)
            going.find_shared_prefix()

    def _decode(self, batch: _Batch) -> None:
        """Feed each sequence its next tokens, and generate another where it has read them all."""
        self._leave(batch)
        if not batch.sequences:
            self._end(batch)
            return
        drafter = batch.sequences[0]
        if self._drafts and len(batch.sequences) == 1 and (draft := drafter.draft()):
            self._verify(batch, drafter, draft)
        else:
            self._feed(batch)
        self._leave(batch)
        if not batch.sequences:
            self._end(batch)

    def _end(self, batch: _Batch) -> None:
        """Remove a batch, and keep its storage for the next one, if graphs were captured for it."""
        self._batches.remove(batch)
        if self._graphs.usable and batch.cache.nbytes <= self.prefixes.max_bytes:
            self._idle = batch.cache

    def _feed(self, batch: _Batch) -> None:
        count = min(len(s.unread) for s in batch.sequences) if self.forward.batches else 1
        logits = self._graphs(batch.cache, [s.unread[:count] for s in batch.sequences])[:, -1]
        for sequence in batch.sequences:
            del sequence.unread[:count]
        _generate_all(batch.sequences, logits)

    def _verify(self, batch: _Batch, sequence: ReplySequence, draft: list[int]) -> None:
        """Feed a draft of the next tokens too, and go on as far as it turns out to be right."""
        tokens = [*sequence.unread, *draft]
        logits = self._graphs(batch.cache, [tokens], last=len(draft) + 1)[0]
        right = 0
        for scores, best, drafted in zip(logits, best_logits(logits), [*draft, None], strict=False):
            sequence.unread.clear()
            _generate(sequence, scores, best)
            over = sequence.finish is not None or sequence.receiver.cancelled
            if over or sequence.written[-1] != drafted:
                break
            right += 1
        sequence.report_draft(right)
        batch.cache.crop(len(draft) - right)

    def _leave(self, batch: _Batch) -> _Batch:
        """Remove the sequences that are over or cancelled, and cache their conversations."""
        before = len(batch.sequences)
        for index in reversed(range(before)):
            sequence = batch.sequences[index]
            if sequence.finish is None and not sequence.receiver.cancelled:
                continue
            if self.forward.batches:
                read = (*sequence.ids, *sequence.written)[: batch.cache.tokens(index)]
                layers = batch.cache.keys_and_values(index, len(read))
                self.prefixes.add(read, layers, weights=sequence.weights)
                batch.cache.leave(index)
            last = batch.sequences.pop()
            if last is not sequence:
                batch.sequences[index] = last
        if len(batch.sequences) < before:
            batch.find_shared_prefix()
        return batch


def _generate_all(sequences: Sequence[ReplySequence], logits: torch.Tensor) -> None:
    """Generate the next token of each sequence that has none left to read."""
    for sequence, scores, best in zip(sequences, logits, best_logits(logits), strict=False):
        if not sequence.unread:
            _generate(sequence, scores, best)


def _generate(sequence: ReplySequence, logits: torch.Tensor, best: Best | None) -> None:
    """Generate a sequence's next token; if that fails, it leaves the batch, and no other does."""
    try:
        sequence.receiver.receive(sequence.step(logits, best))
    except Exception as error:  # noqa: BLE001 - the caller's affair
        sequence.receiver.receive(error)
        sequence.receiver.cancelled = True


def _fail(sequences: Iterable[PromptSequence], error: Exception) -> None:
    for sequence in sequences:
        sequence.receiver.receive(error)
