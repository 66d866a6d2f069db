"""Forward passes of a causal language model over a batch of sequences."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from urial_core.backends.available_memory import available_memory
from urial_core.backends.transformers.kv_cache import KVCache
from urial_core.backends.transformers.shared_prefix import SharedPrefix
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.errors import UnsupportedModelError

__all__ = ["Forward"]

_CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""How models name the state they keep between tokens: transformers is renaming it."""
_MOST_SEQUENCES = 64
"""More in a batch gain little."""
_USUAL_TOKENS = 2048
"""The length of the sequences that there must be memory for."""
_CAUTIOUS_BATCH_SIZE = 16


class Forward:
    """A loaded model, called with a KV cache and the next tokens of each sequence.

    Attributes:
        model: The model of transformers.
        vocab_size: How many logits it returns for a token.
        layer_types: How the model names what each of its layers attends to, or nothing.
        batches: Whether sequences can be batched and prefixes be reused, since all of its layers
            attend over plain keys and values.
    """

    def __init__(self, model: Any, tokenization: Tokenization) -> None:
        """Take a loaded model in evaluation mode.

        Raises:
            UnsupportedModelError: The model keeps no state between tokens.
        """
        self.model = model
        self._config = config = model.config.get_text_config(decoder=True)
        self.vocab_size: int = config.vocab_size
        self.layer_types: Sequence[str] = getattr(config, "layer_types", None) or ()
        unknown = tokenization.unknown(config.vocab_size)
        self._unknown = torch.tensor(unknown, dtype=torch.long, device=model.device)
        self.batches = self.new_cache().is_plain
        accepted = inspect.signature(model.forward).parameters
        self._cache_name = next((name for name in _CACHE_NAMES if name in accepted), "")
        if not self._cache_name:
            raise UnsupportedModelError(
                f"{type(model).__name__} keeps no state between tokens that could be passed to it, "
                "so it cannot continue a text token by token."
            )
        self._takes_logits_to_keep = "logits_to_keep" in accepted

    def new_cache(self, padding: Sequence[int] = (0,)) -> KVCache:
        """Return an empty cache for sequences with so many columns of padding on the left."""
        return KVCache(self._config, padding)

    def suitable_batch_size(self) -> int:
        """Return how many sequences a batch may hold: 64, if the memory allows.

        Half of the memory that is free now must hold their keys and values, at 2,048 tokens each.
        Where that is unknown, it is 16.
        """
        free = available_memory()
        if self.model.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.model.device)
        if free is None or not self.batches:
            return _CAUTIOUS_BATCH_SIZE
        config = self._config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        values = 2 * config.num_hidden_layers * heads * dim * _USUAL_TOKENS
        return int(min(max(free // 2 // (values * self.model.dtype.itemsize), 1), _MOST_SEQUENCES))

    @torch.inference_mode()
    def __call__(
        self, cache: KVCache, tokens: Sequence[Sequence[int]], last: int = 1
    ) -> torch.Tensor:
        """Feed each sequence equally many tokens; return the logits after the ``last`` of them.

        Returns:
            The logits, [batch, last, vocabulary].
        """
        device = self.model.device
        ids = torch.tensor(tokens, device=device)
        columns = torch.arange(cache.length + ids.shape[1], device=device)
        places = columns - torch.tensor(cache.padding, device=device)[:, None]
        positions = places[:, cache.length :].clamp(min=0)
        mask = (places >= 0).long() if any(cache.padding) else None
        # On a GPU, launching more kernels would take longer.
        shared_tokens = cache.shared_tokens if device.type == "cpu" else 0
        prefix = SharedPrefix(shared_tokens, cache.padding, len(columns))
        with prefix.in_use():
            logits = self.logits(cache, ids, positions, mask, last)
        cache.length += ids.shape[1]
        return logits

    def logits(
        self, cache: KVCache, ids: torch.Tensor, positions: torch.Tensor, mask: Any, last: int
    ) -> torch.Tensor:
        """Call the model, which adds the tokens to the layers of the cache.

        Args:
            cache: The sequences' KV cache.
            ids: Their next tokens, [batch, tokens].
            positions: The positions of these in their sequences, [batch, tokens].
            mask: What they may attend to, in any form that the model takes.
            last: How many tokens to return logits for.

        Returns:
            The logits after the last tokens, [batch, last, vocabulary].
        """
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            **{self._cache_name: cache},
            use_cache=True,
            **({"logits_to_keep": last} if self._takes_logits_to_keep else {}),
        )
        logits: torch.Tensor = output.logits[:, -last:].float()  # half precision is slow to search
        return logits.index_fill(-1, self._unknown, -torch.inf) if len(self._unknown) else logits
