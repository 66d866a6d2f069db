"""Real servers: one that is started here, or one that runs already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from urial_core.backends.completions_server import CompletionsServerModel

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("llama_server.py")
STARTS_WITHIN = 120.0
NAMES = ("gemma", "gemma-again")
"""Names of the one model, by either script here."""


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
        """What the server answers to a body."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    def counted(self, *names: str) -> float:
        """The sum of the server's own counters of these names."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:  # noqa: S310 - loopback
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith(names)]
        assert found, f"no counter {names} in {lines}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def tokens_found(self) -> float:
        """Tokens of prompts that were not computed again, so far, by its own count."""
        return self.counted("llamacpp:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total")

    def written(self) -> int:
        """Tokens that it has written so far, by its own count."""
        return int(self.counted("llamacpp:tokens_predicted_total", "vllm:generation_tokens_total"))

    def busy(self) -> bool:
        """Whether it is writing something, by its own count."""
        return self.counted("llamacpp:requests_processing", "vllm:num_requests_running") > 0

    def under_way(self) -> int:
        """How many requests it is writing or has waiting."""
        writing = self.counted("llamacpp:requests_processing", "vllm:num_requests_running")
        waiting = self.counted("llamacpp:requests_deferred", "vllm:num_requests_waiting{")
        return int(writing + waiting)

    def becomes(self, *, busy: bool, within: float = 20.0) -> bool:
        """Whether it becomes busy, or idle, in time.

        Asked seldom: llama.cpp looks for clients that have left only when it had nothing to answer
        for a second.
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
            raise RuntimeError(f"{SCRIPT} did not start: run it by hand to see why.")
        super().__init__(url)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.communicate()


def is_json_on_one_line(text: str) -> bool:
    """Whether a text is JSON as the standard library would write it."""
    return json.dumps(json.loads(text), ensure_ascii=False) == text
