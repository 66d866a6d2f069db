"""llama.cpp's own server in this process, for nobody else.

The server is what makes llama.cpp write many replies at once, keep pages computed, hold JSON to a
schema and stop when a client leaves. It listens at a Unix domain socket in a folder that only this
user can open (on Windows: at a free port of the loopback address), and wants a key that nobody else
has.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from urial_core.errors import ModelLoadError, ParameterError

__all__ = ["PrivateServer", "ServerSettings"]

_HTTP_THREADS = 80
"""Each open request holds one. With fewer than ours, counting tokens would wait for a reply."""
_GGUF = b"GGUF"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the server is to load, and how.

    Attributes:
        path: The GGUF file.
        n_ctx: Tokens of one request's window; no more than the model was trained for are used.
        n_parallel: How many replies are written at once, each in a slot of its own.
        n_threads: Threads that compute.
        n_gpu_layers: Layers on the GPU; None for as many as fit.
        params: Anything else of ``xllamacpp.CommonParams``.
    """

    path: str
    n_ctx: int
    n_parallel: int
    n_threads: int
    n_gpu_layers: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


class PrivateServer:
    """A running server. Whoever makes one closes it."""

    def __init__(self, settings: ServerSettings) -> None:
        """Load the model and serve it.

        Raises:
            ModelLoadError: There is no such file, or llama.cpp cannot load it.
            ParameterError: llama.cpp has no such parameter, or not of that type.
        """
        _check_file(settings.path)
        self.key = secrets.token_hex(16)
        self._folder = mkdtemp(prefix="urial-")  # only this user can open it
        self.uds = f"{self._folder}/llama.sock" if _has_sockets() else None
        try:
            self._server = self._started(settings)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        address = "http://localhost" if self.uds else self._server.listening_address
        self.base_url = f"{address}/v1"

    def close(self) -> None:
        """Stop serving and free the memory; replies that are being written break off."""
        self._server = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self, settings: ServerSettings) -> Any:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.verbosity = 0
        params.model.path = settings.path
        params.n_parallel = settings.n_parallel
        params.n_ctx = settings.n_ctx * settings.n_parallel  # shared out among the slots
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.n_threads
        if settings.n_gpu_layers is not None:
            params.n_gpu_layers = settings.n_gpu_layers
        params.swa_full = True  # else models with sliding windows do not reuse a restored slot
        # Shared among all requests, it can answer one with another's conversation: llama.cpp's
        # issue 27148, open in 2026.
        params.cache_ram_mib, params.cache_idle_slots = 0, False
        for name, value in settings.params.items():
            _set(params, name, value)
        params.hostnames, params.port = [self.uds or "127.0.0.1"], 0
        params.api_keys, params.ui = [self.key], False
        params.slot_save_path = f"{self._folder}/"
        params.endpoint_slots = params.endpoint_props = True
        params.n_threads_http = _HTTP_THREADS
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelLoadError(
                f"llama.cpp cannot load {settings.path}: the file is damaged, its architecture is "
                "unknown to this build of llama.cpp, or the memory is too small for "
                f"n_ctx={settings.n_ctx} and n_parallel={settings.n_parallel}. With "
                "backend_options={'params': {'verbosity': 4}} it says more on stderr."
            ) from error


def _set(params: Any, name: str, value: Any) -> None:
    if not hasattr(params, name):
        raise ParameterError(f"xllamacpp.CommonParams has no {name!r}.")
    try:
        setattr(params, name, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ParameterError(f"llama.cpp does not take {name}={value!r}: {error}") from error


def _check_file(path: str) -> None:
    """Say what is wrong with a file; llama.cpp only says that something is."""
    try:
        with Path(path).open("rb") as file:
            magic = file.read(len(_GGUF))
    except OSError as error:
        raise ModelLoadError(f"Cannot read the model {path}: {error.strerror}.") from error
    if magic != _GGUF:
        raise ModelLoadError(f"{path} is no GGUF file: it begins with {magic!r}.")


def _has_sockets() -> bool:
    return hasattr(socket, "AF_UNIX") and sys.platform != "win32"
