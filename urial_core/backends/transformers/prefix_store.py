"""Keys and values of prompt prefixes on disk, so that a new process starts with them.

A file is named by the prefix's tokens and by what the model is recognised by: its configuration, a
sample of its weights, and the bits that it computes for a few tokens. The latter depend on all that
keys and values depend on: weights, adapters, number format, kernels, libraries. Where one of them
changes, no file is found, and one is made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from urial_core.backends.prefix_folder import MAX_BYTES, prefix_folder, store_file
from urial_core.backends.transformers.forward import Forward
from urial_core.backends.transformers.prefix_tree import KeysAndValues
from urial_core.backends.transformers.weights import weights_of

__all__ = ["PrefixStore"]

logger = logging.getLogger(__name__)


_SAMPLED_TOKENS = 16
_SAMPLED_WEIGHTS = 64
"""Weights of each parameter, evenly spaced: not all take part in a few tokens, such as experts."""


class PrefixStore:
    """A model's prefixes in a folder, under a bound; the least recently used are removed first.

    What cannot be read or written is computed again; no error is raised.
    """

    def __init__(
        self, forward: Forward, folder: Path | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        """Compute what the model is recognised by.

        Args:
            forward: The model, whose layers all have keys and values.
            folder: By default that of the cache folder; it is made when it is needed.
            max_bytes: Most bytes of the folder.
        """
        self._folder = folder or prefix_folder()
        self._max_bytes = max_bytes
        self._forward = forward
        self._weights = 0
        self._recognise_model()

    def _recognise_model(self) -> None:
        """Compute what the model is recognised by, unless that is known of its weights."""
        if (weights := weights_of(self._forward.model)) == self._weights:
            return
        cache = self._forward.new_cache()
        tokens = [n % self._forward.vocab_size for n in range(_SAMPLED_TOKENS)]
        self._forward(cache, [tokens])
        self._sample = cache.keys_and_values(0, _SAMPLED_TOKENS)
        digest = sha256(self._forward.model.config.to_json_string().encode())
        sides = (side for layer in self._sample for side in layer)
        for tensor in (*sides, *_sampled_weights(self._forward.model)):
            digest.update(tensor.contiguous().view(torch.uint8).cpu().numpy().tobytes())
        self._model, self._weights = digest.hexdigest(), weights

    def load(self, ids: Sequence[int]) -> KeysAndValues | None:
        """Return a prefix's keys and values, if they are here."""
        self._recognise_model()
        file = self._file(ids)
        try:
            tensors = load_file(file)
            layers = [
                (_sized(tensors[f"keys.{n}"], k, ids), _sized(tensors[f"values.{n}"], v, ids))
                for n, (k, v) in enumerate(self._sample)
            ]
            os.utime(file)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            logger.warning("The stored prompt prefix %s cannot be read: %s", file, error)
            return None
        return layers

    def save(self, ids: Sequence[int], layers: KeysAndValues) -> None:
        """Keep a prefix's keys and values, if they fit."""
        if sum(k.nbytes + v.nbytes for k, v in layers) > self._max_bytes:
            return
        self._recognise_model()
        sides = [(f"keys.{n}", k) for n, (k, _) in enumerate(layers)]
        sides += [(f"values.{n}", v) for n, (_, v) in enumerate(layers)]
        tensors = {name: side.contiguous() for name, side in sides}
        try:
            store_file(self._file(ids), partial(save_file, tensors), self._max_bytes)
        except (OSError, SafetensorError) as error:
            logger.warning("The prompt prefix cannot be stored in %s: %s", self._folder, error)

    def _file(self, ids: Sequence[int]) -> Path:
        name = sha256(repr((self._model, tuple(ids))).encode()).hexdigest()[:32]
        return self._folder / f"{name}.safetensors"


def _sampled_weights(model: Any) -> Iterator[torch.Tensor]:
    """Yield some weights of each plain parameter; packed and quantized ones cannot be indexed."""
    for parameter in model.parameters():
        is_plain = type(parameter) is torch.nn.Parameter and parameter.layout is torch.strided
        if is_plain and not parameter.is_meta:
            flat = parameter.detach().flatten()
            yield flat[:: max(len(flat) // _SAMPLED_WEIGHTS, 1)]


def _sized(stored: torch.Tensor, sample: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Return a stored tensor on the model's device.

    Raises:
        ValueError: It is not of the shape and dtype that the model computes.
    """
    heads, _, dim = sample.shape
    if stored.shape != (heads, len(ids), dim) or stored.dtype != sample.dtype:
        raise ValueError(f"it has {stored.shape} of {stored.dtype}")
    return stored.to(sample.device)
