"""A fake server on the loopback: another wire format, answered by the real llama.cpp server.

Neither Ollama's nor TGI's server can be installed from a package index, so fake ones translate.
The model's text, the LLM class, its client and what both send are real; the fake server behaves as
the real one's source and documentation say.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


class RefusedError(Exception):
    """The server refuses a request."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@dataclass(frozen=True)
class Piece:
    """A piece of the real server's text; the last one holds the reason and the counts."""

    text: str
    finish: str | None = None
    stop_met: str = ""
    read: int = 0
    written: int = 0


class FakeServer(ABC):
    """Answers every POST in its own wire format, with what the real server writes."""

    content_type: str

    def __init__(self, server_url: str) -> None:
        self._completions = f"{server_url}/v1/completions"

    @abstractmethod
    def answer(self, body: dict[str, Any]) -> Generator[bytes]:
        """Yield the answer to a request.

        Raises:
            RefusedError: The request is invalid; raised before the first piece.
        """

    def pieces(self, payload: Mapping[str, Any]) -> Generator[Piece]:
        """Yield what the real server writes. Closing early closes the connection to it."""
        asked = {**payload, "stream": True, "verbose": True, "min_p": 0.0}
        with httpx.stream("POST", self._completions, json=asked, timeout=120) as response:
            if response.status_code != 200:
                raise RefusedError(response.status_code, {"error": response.read().decode()})
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    yield _piece(json.loads(line.removeprefix("data: ")))

    @contextmanager
    def running(self) -> Generator[str]:
        """Run it in its own thread; yield its URL."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _piece(event: Mapping[str, Any]) -> Piece:
    choice, verbose = event["choices"][0], event.get("__verbose") or {}
    usage = event.get("usage") or {}
    stopped = verbose.get("stop_type") == "word"
    return Piece(
        choice["text"],
        choice.get("finish_reason"),
        verbose.get("stopping_word", "") if stopped else "",
        usage.get("prompt_tokens", 0),
        usage.get("completion_tokens", 0),
    )


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with closing(fake.answer(body)) as pieces:
                try:
                    first = next(pieces)
                except RefusedError as refused:
                    self._begin(refused.status, "application/json")
                    self.wfile.write(json.dumps(refused.body).encode())
                    return
                self._begin(200, fake.content_type if body.get("stream") else "application/json")
                self._write(first, pieces)

        def _begin(self, status: int, content_type: str) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("connection", "close")
            self.end_headers()

        def _write(self, first: bytes, rest: Iterator[bytes]) -> None:
            try:
                self.wfile.write(first)
                for piece in rest:
                    self.wfile.write(piece)
            except OSError:  # the client has closed the connection
                return

        def log_message(self, *args: Any) -> None:
            """Log nothing."""

    return Handler
