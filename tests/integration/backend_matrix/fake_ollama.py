"""Ollama's ``/api/generate``, answered by the real llama.cpp server (see ``fake_backend``).

Raw mode only. Options that are unset have Ollama's defaults, so a parameter that does not arrive
changes the text. ``num_ctx`` is not enforced: the real server's window applies.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

from fake_backend import FakeServer, RefusedError

_DEFAULTS = {
    "num_predict": -1,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "seed": -1,
    "stop": [],
}
_RENAMED = {"num_predict": "max_tokens"}


class FakeOllama(FakeServer):
    """Ollama."""

    content_type = "application/x-ndjson"

    def answer(self, body: dict[str, Any]) -> Generator[bytes]:
        if not body.get("raw"):
            raise RefusedError(400, {"error": "this fake server has no template: set raw"})
        given = {k: v for k, v in body.get("options", {}).items() if v is not None}
        options = {name: given.get(name, value) for name, value in _DEFAULTS.items()}
        payload = {_RENAMED.get(name, name): value for name, value in options.items()}
        payload["prompt"] = body["prompt"]
        if isinstance(body.get("format"), dict):
            payload["json_schema"] = body["format"]
        texts = list[str]()
        for piece in self.pieces(payload):
            texts.append(piece.text)
            if piece.finish is None:
                if body.get("stream", True):
                    yield _line(body, piece.text)
                continue
            whole = piece.text if body.get("stream", True) else "".join(texts)
            yield _line(
                body,
                whole,
                done_reason=piece.finish,
                prompt_eval_count=piece.read,
                eval_count=piece.written,
            )


def _line(body: dict[str, Any], text: str, **end: Any) -> bytes:
    item = {"model": body["model"], "response": text, "done": bool(end), **end}
    return json.dumps(item).encode() + b"\n"
