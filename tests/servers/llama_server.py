"""A real llama.cpp server with the demo model, for tests and experiments.

``python tests/servers/llama_server.py --port 8083`` serves until its standard input is closed, and
prints its address once it listens. llama.cpp comes with the package ``xllamacpp``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import xllamacpp

from urial_core.demo import demo_model_file

__all__ = ["main"]


def main() -> None:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a GGUF file; default: the demo model")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--slots", type=int, default=2, help="concurrent requests")
    parser.add_argument("--window", type=int, default=2048, help="tokens of each slot")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slot-save-path", help="a folder for saved slots")
    parser.add_argument("--cache-ram", type=int, help="MiB for KV caches of earlier requests")
    parser.add_argument("--api-key")
    parser.add_argument("--chat-template-file", help="a Jinja template for the chat endpoint")
    options = parser.parse_args()
    options.model = options.model or str(demo_model_file())
    server = xllamacpp.Server(_parameters(options))
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # without waiting for requests


def _parameters(options: argparse.Namespace) -> xllamacpp.CommonParams:
    """Return the parameters that ``llama-server`` would set from its own options."""
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {"gemma", "gemma-again"}
    params.hostnames, params.port = ["127.0.0.1"], options.port
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.window  # divided among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.fit_params = False  # all of it is given; else the vocabulary is read once more
    params.swa_full = True  # else models with sliding windows do not reuse a restored slot
    params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = True
    if options.slot_save_path:
        params.slot_save_path = options.slot_save_path.rstrip("/") + "/"
    if options.cache_ram is not None:
        params.cache_ram_mib = options.cache_ram
    if options.api_key:
        params.api_keys = [options.api_key]
    if options.chat_template_file:
        params.chat_template = Path(options.chat_template_file).read_text("utf-8")
        params.use_jinja = True
    return params


if __name__ == "__main__":
    main()
