"""Keys and values of prompt prefixes on disk, so that a new process starts with them.

A file is named by the prefix's tokens and by the bits that the model computes for the first few of
them. These bits depend on everything that the keys and values depend on: weights, adapters, number
format, kernels, libraries. Where one of them changes, no file is found, and one is made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from urial_core.backends.prefix_folder import MAX_BYTES, prefix_folder, store_file
from urial_core.backends.transformers.prefix_tree import KeysAndValues

__all__ = ["PrefixStore"]

logger = logging.getLogger(__name__)


class PrefixStore:
    """Prefixes in a folder, under a bound; the least recently used are removed first.

    What cannot be read or written is computed again; no error is raised.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        """Keep at most ``max_bytes`` in a folder, by default that of the cache folder."""
        self._folder = folder or prefix_folder()
        self._max_bytes = max_bytes

    def load(self, ids: Sequence[int], first: KeysAndValues) -> KeysAndValues | None:
        """Return a prefix's keys and values, if they are here.

        Args:
            ids: Its tokens.
            first: The keys and values of its first tokens, computed now by the model in use, always
                in the same way.
        """
        file = self._file(ids, first)
        try:
            tensors = load_file(file)
            layers = [
                (_sized(tensors[f"keys.{n}"], k, ids), _sized(tensors[f"values.{n}"], v, ids))
                for n, (k, v) in enumerate(first)
            ]
            os.utime(file)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            logger.warning("The stored prompt prefix %s cannot be read: %s", file, error)
            return None
        return layers

    def save(self, ids: Sequence[int], first: KeysAndValues, layers: KeysAndValues) -> None:
        """Keep a prefix's keys and values, if they fit."""
        if sum(k.nbytes + v.nbytes for k, v in layers) > self._max_bytes:
            return
        file = self._file(ids, first)
        sides = [(f"keys.{n}", k) for n, (k, _) in enumerate(layers)]
        sides += [(f"values.{n}", v) for n, (_, v) in enumerate(layers)]
        tensors = {name: side.contiguous() for name, side in sides}
        try:
            store_file(file, partial(save_file, tensors), self._max_bytes)
        except (OSError, SafetensorError) as error:
            logger.warning("The prompt prefix cannot be stored in %s: %s", self._folder, error)

    def _file(self, ids: Sequence[int], first: KeysAndValues) -> Path:
        digest = sha256(repr((tuple(ids), [(k.shape, k.dtype) for k, _ in first])).encode())
        for side in (side for layer in first for side in layer):
            digest.update(side.contiguous().view(torch.uint8).cpu().numpy().tobytes())
        return self._folder / f"{digest.hexdigest()[:32]}.safetensors"


def _sized(stored: torch.Tensor, sample: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Return a stored tensor on the model's device.

    Raises:
        ValueError: It is not of the shape and dtype that the model computes.
    """
    heads, _, dim = sample.shape
    if stored.shape != (heads, len(ids), dim) or stored.dtype != sample.dtype:
        raise ValueError(f"it has {stored.shape} of {stored.dtype}")
    return stored.to(sample.device)
