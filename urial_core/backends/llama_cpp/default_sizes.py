"""Default slots and context window of a GGUF file: what its model and the memory allow."""

from __future__ import annotations

from typing import Any

from urial_core.backends.available_memory import available_memory
from urial_core.backends.gguf_file import architecture_settings

__all__ = ["LEAST_WINDOW", "MOST_WINDOW", "default_slots", "default_window"]

LEAST_WINDOW = 4096
"""The default window is no smaller, unless the model was trained for less."""
MOST_WINDOW = 32_768
"""The default window is no larger: a longer prefill takes minutes without a GPU."""
_SLOTS = (16, 8, 4)
"""Default numbers of slots. More gain little on a CPU; few numbers share files of prefixes."""
_USUAL_WINDOW = 8192
"""The window for which there must be memory in each slot before there are more slots."""
_SHARE_OF_MEMORY = 8
"""The KV caches may take one part in this many of the memory that is available."""


def default_slots(path: str, n_ctx: int | None, memory: int | None = None) -> int:
    """Return how many replies to generate at once: 16, 8 or 4, the most that the memory allows.

    The KV caches of all slots may take an eighth of the available memory, with the context window
    that is given, or else 8,192 tokens.

    Args:
        path: The GGUF file. Of one whose header cannot be read, nothing is known: 4.
        n_ctx: The context window of a slot, if it is given.
        memory: The available memory, in bytes. Default: what the system reports.
    """
    settings = architecture_settings(path)
    room = available_memory() if memory is None else memory
    if not (per_token := _bytes_per_token(settings)) or room is None:
        return _SLOTS[-1]
    trained = settings.get("context_length") or LEAST_WINDOW
    slot_bytes = min(n_ctx or _USUAL_WINDOW, trained) * per_token
    fitting = room // _SHARE_OF_MEMORY // slot_bytes
    return next((slots for slots in _SLOTS if slots <= fitting), _SLOTS[-1])


def default_window(path: str, n_parallel: int, memory: int | None = None) -> int:
    """Return the context window to use for a file, in tokens.

    It is the window that the model was trained for, at most ``MOST_WINDOW``, and not more than what
    leaves the KV caches of all slots an eighth of the available memory, but for that not less than
    ``LEAST_WINDOW``.

    Args:
        path: The GGUF file. Of one whose header cannot be read, nothing is known.
        n_parallel: The number of slots.
        memory: The available memory, in bytes. Default: what the system reports.
    """
    settings = architecture_settings(path)
    trained = settings.get("context_length") or LEAST_WINDOW
    window = int(min(trained, MOST_WINDOW))
    room = available_memory() if memory is None else memory
    if not (per_token := _bytes_per_token(settings)) or room is None:
        return min(window, LEAST_WINDOW)
    fitting = room // _SHARE_OF_MEMORY // (n_parallel * per_token) // 1024 * 1024
    return min(window, max(fitting, LEAST_WINDOW))


def _bytes_per_token(settings: dict[str, Any]) -> int:
    """Return the size of one token in the KV cache, of 16-bit numbers; 0 if unknown."""
    try:
        layers, heads = settings["block_count"], settings["attention.head_count"]
        own = settings["embedding_length"] // _largest(heads)
        sizes = (settings.get(f"attention.{part}_length", own) for part in ("key", "value"))
        return int(
            2 * layers * _largest(settings.get("attention.head_count_kv", heads)) * sum(sizes)
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0


def _largest(number: int | list[int]) -> int:
    return max(number) if isinstance(number, list) else number
