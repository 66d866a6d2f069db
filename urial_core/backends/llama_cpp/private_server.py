"""llama.cpp's own server in this process, for this process only.

The server is what makes llama.cpp batch requests continuously, reuse KV caches, constrain JSON to a
schema and stop when a client disconnects. It listens at a Unix domain socket in a folder that only
this user can open (on Windows: at a free port of the loopback address), and requires a random key.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from urial_core.backends.temporary_folder import TemporaryFolder
from urial_core.errors import ModelLoadError, ParameterError

__all__ = ["PrivateServer"]

_HTTP_THREADS = 80
"""Each open request holds one. With fewer than the client's, counting tokens would be queued."""
_STEP_TOKENS = 48
"""The tokens of a step without a GPU, of prompts and replies together.

A prompt is read in steps that write a token of each reply too, so replies pause for a step. With 48
tokens that takes three times as long as a step that only writes; a long prompt alone takes a sixth
longer than in steps of llama.cpp's 2,048.
"""


class PrivateServer:
    """A running server. Its creator closes it.

    Attributes:
        base_url: Where its API is.
        uds: The Unix domain socket at which it listens, if there are such.
        key: The key that it requires.
        slots: The folder in which it saves KV caches.
    """

    def __init__(
        self,
        path: str,
        *,
        n_ctx: int,
        n_parallel: int,
        n_threads: int,
        n_gpu_layers: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Load a model and serve it; see ``LlamaCppModel``.

        llama.cpp ends the process at some files: see ``check_gguf``.

        Raises:
            ModelLoadError: llama.cpp cannot load the file.
            ParameterError: llama.cpp has no such parameter, or not of that type.
        """
        self.key = secrets.token_hex(16)
        self._folder = TemporaryFolder(Path(gettempdir()))  # only this user can open it
        self.slots = self._folder.path
        self._process = os.getpid()
        has_sockets = hasattr(socket, "AF_UNIX") and sys.platform != "win32"
        self.uds = f"{self._folder.path}/llama.sock" if has_sockets else None
        self._server: Any = None
        try:
            import xllamacpp

            common = xllamacpp.CommonParams()
            common.verbosity = 0
            common.model.path = path
            common.n_parallel = n_parallel
            common.n_ctx = n_ctx * n_parallel  # divided among the slots
            common.cpuparams.n_threads = common.cpuparams_batch.n_threads = n_threads
            if n_gpu_layers is not None:
                common.n_gpu_layers = n_gpu_layers
            devices = [device["type"].name for device in xllamacpp.get_device_info()]
            # To fit layers to a GPU's memory, llama.cpp reads the whole vocabulary once more.
            has_gpu = common.fit_params = any(name.endswith("GPU") for name in devices)
            if n_parallel > 1 and not has_gpu:
                common.n_batch = max(_STEP_TOKENS, 2 * n_parallel)
            common.swa_full = True  # else sliding-window models do not reuse a restored slot
            # Shared by all requests, this cache can answer one with another's conversation:
            # llama.cpp's issue 27148, open in 2026.
            common.cache_ram_mib, common.cache_idle_slots = 0, False
            for name, value in (params or {}).items():
                _set(common, name, value)
            common.hostnames, common.port = [self.uds or "127.0.0.1"], 0
            common.api_keys, common.ui = [self.key], False
            common.slot_save_path = f"{self.slots}/"
            common.endpoint_slots = common.endpoint_props = common.endpoint_metrics = True
            common.n_threads_http = _HTTP_THREADS
            self._server = xllamacpp.Server(common)
            # A server that is closed before its task loop runs never ends: this waits for the loop.
            self._server.handle_metrics()
        except RuntimeError as error:
            self.close()
            raise ModelLoadError(
                f"llama.cpp cannot load {path}: the file is damaged, its settings do not fit its "
                "tensors, its architecture is unknown to this build of llama.cpp, or the memory is "
                f"too small for n_ctx={n_ctx} and n_parallel={n_parallel}. With "
                "backend_options={'params': {'verbosity': 4}} it logs more on stderr."
            ) from error
        except BaseException:
            self.close()
            raise
        address = "http://localhost" if self.uds else self._server.listening_address
        self.base_url = f"{address}/v1"

    def close(self) -> None:
        """Stop serving and free the memory; clients must have disconnected.

        In a forked process, do nothing: the server is its parent's.
        """
        if os.getpid() != self._process:
            # Its threads are not in this process, so freeing it would wait for them for ever.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._server))
            return
        self._server = None
        self._folder.remove()


def _set(params: Any, name: str, value: Any) -> None:
    if not hasattr(params, name):
        raise ParameterError(f"xllamacpp.CommonParams has no {name!r}: see its attributes.")
    try:
        setattr(params, name, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ParameterError(f"llama.cpp does not accept {name}={value!r}: {error}") from error
