"""A JSON server on the loopback interface that records its requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["StubServer", "serving"]

Answer = Callable[[dict[str, Any]], "bytes | Iterable[bytes]"]


class StubServer(ThreadingHTTPServer):
    """Answers each POST with a function of its body: bytes, or pieces of a stream."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.paths = list[str]()
        self.bodies = list[dict[str, Any]]()
        self.headers = list[dict[str, str]]()
        self.sent = 0  # pieces of streams
        self.left = 0  # streams whose client disconnected

    @property
    def url(self) -> str:
        """The URL at which it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def left_soon(self) -> bool:
        """Return whether a client disconnects within two seconds."""
        for _ in range(100):
            if self.left:
                return True
            time.sleep(0.02)
        return False


class _Handler(BaseHTTPRequestHandler):
    server: StubServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Record the request and answer it."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.paths.append(self.path)
        self.server.bodies.append(body)
        self.server.headers.append({name.lower(): text for name, text in self.headers.items()})
        answer = self.server.answer(body)
        self.send_response(200)
        if isinstance(answer, bytes):
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            return
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for piece in answer:
                self.wfile.write(piece)
                self.wfile.flush()
                self.server.sent += 1
        except OSError:
            self.server.left += 1

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving(answer: Answer) -> Generator[StubServer]:
    """Run a server in a thread of its own."""
    server = StubServer(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
