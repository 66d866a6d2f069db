"""KV caches of prompt prefixes, which one process's server saves and the next one's reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from typing import Any

from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.completions_server.warming import saved_prefix
from urial_core.backends.prefix_folder import prefix_folder, store_file

__all__ = ["PrefixFiles"]

logger = logging.getLogger(__name__)


class PrefixFiles:
    """The files of one GGUF file under one set of parameters, for one version of llama.cpp."""

    def __init__(
        self,
        path: str,
        params: Mapping[str, Any],
        n_parallel: int,
        slots: Path,
        *,
        on_disk: bool = True,
    ) -> None:
        """Name the files by what their contents depend on.

        Args:
            path: The GGUF file, which exists.
            params: Members of ``xllamacpp.CommonParams``.
            n_parallel: The number of slots: a server reads only files of one with as many.
            slots: The folder in which the server saves KV caches.
            on_disk: Whether files are kept for the next process.
        """
        file = Path(path).resolve()
        status = file.stat()
        parts = (version("xllamacpp"), str(file), status.st_size, status.st_mtime_ns, n_parallel)
        self._key = sha256(repr((*parts, sorted(params.items()))).encode()).hexdigest()[:16]
        self._slots = slots
        self._on_disk = on_disk

    def warm(self, client: CompletionsServerModel, prefix: str, slots: Sequence[int]) -> None:
        """Read a prefix into these slots; where it has no file yet, compute it and save one."""
        used = self._slots / saved_prefix(prefix)
        kept = prefix_folder() / f"{self._key}-{used.name}"
        if self._on_disk and not used.exists():
            with suppress(OSError):  # there is none
                copyfile(kept, used)
                os.utime(kept)
        copied = _time(used)
        client.warm(prefix, is_saved=copied is not None, slots=slots)
        if not self._on_disk or _time(used) == copied:
            return
        try:  # it was none, or damaged
            store_file(kept, partial(copyfile, used))
        except OSError as error:
            logger.warning("The prompt prefix cannot be stored as %s: %s", kept, error)


def _time(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.is_file() else None
