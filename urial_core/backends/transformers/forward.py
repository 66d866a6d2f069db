"""Forward passes of a causal language model over a batch of sequences."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from urial_core.backends.transformers.kv_cache import KVCache
from urial_core.backends.transformers.tokenization import Tokenization
from urial_core.errors import UnsupportedModelError

__all__ = ["Forward"]

_CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""How models name the state they keep between tokens: transformers is renaming it."""


class Forward:
    """A loaded model, called with a KV cache and the next tokens of each sequence.

    Attributes:
        model: The model of transformers.
        vocab_size: How many logits it returns for a token.
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
