"""Real servers: a llama.cpp server in a subprocess, or one that runs already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from urial_core.backends.completions_server import CompletionsServerModel

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("llama_server.py")
STARTS_WITHIN = 120.0
NAMES = ("gemma", "gemma-again")
"""Names of the model in both scripts of this folder."""


class RunningServer:
    """A server at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def model(self, **options: Any) -> CompletionsServerModel:
        return CompletionsServerModel(self.base_url, **{"timeout": 120.0, **options})

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the server's response to a body."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    def counter(self, *names: str) -> float:
        """Return the sum of the server's own counters of these names."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:  # noqa: S310 - loopback
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith(names)]
        assert found, f"no counter {names} in {lines}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def cached_tokens(self) -> float:
        """Return how many prompt tokens it has found in its prefix cache so far."""
        return self.counter("llamacpp:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total")

    def written(self) -> int:
        """Return how many tokens it has generated so far."""
        return int(self.counter("llamacpp:tokens_predicted_total", "vllm:generation_tokens_total"))

    def busy(self) -> bool:
        """Return whether it is generating."""
        return self.counter("llamacpp:requests_processing", "vllm:num_requests_running") > 0

    def active_requests(self) -> int:
        """Return how many requests it is generating or has queued."""
        running = self.counter("llamacpp:requests_processing", "vllm:num_requests_running")
        queued = self.counter("llamacpp:requests_deferred", "vllm:num_requests_waiting{")
        return int(running + queued)

    def becomes(self, *, busy: bool, within: float = 20.0) -> bool:
        """Return whether it becomes busy, or idle, in time.

        The polls are rare: llama.cpp looks for disconnected clients only after a second without
        requests.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self.busy() is busy:
                return True
            time.sleep(0.1 if busy else 1.5)
        return False


class LlamaServer(RunningServer):
    """A llama.cpp server in a process of its own, with one thread and two slots."""

    def __init__(self, slot_folder: Path, port: int = 0, options: Sequence[str] = ()) -> None:
        command = [sys.executable, str(SCRIPT), "--slot-save-path", str(slot_folder), *options]
        self.process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        killer = threading.Timer(STARTS_WITHIN, self.process.kill)
        killer.start()
        url = self.process.stdout.readline().strip()
        killer.cancel()
        if not url:
            raise RuntimeError(f"{SCRIPT} did not start: run it to see the error.")
        super().__init__(url)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """End it at once, like a crash."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def chosen_server(folder: Path, options: Sequence[str] = ()) -> Generator[RunningServer]:
    """Run the server of ``URIAL_TEST_SERVER``, or else llama.cpp with these options."""
    if url := os.environ.get("URIAL_TEST_SERVER"):
        yield RunningServer(url)
        return
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    started = LlamaServer(folder, options=options)
    try:
        yield started
    finally:
        started.kill()


def is_json_on_one_line(text: str) -> bool:
    """Return whether a text is JSON as the standard library writes it."""
    return json.dumps(json.loads(text), ensure_ascii=False) == text
