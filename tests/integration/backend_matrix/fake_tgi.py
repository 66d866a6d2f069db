"""The API of Hugging Face's text-generation-inference, answered by the real llama.cpp server.

See ``fake_backend``. Parameters are checked as its router checks them, a request is greedy only
without sampling parameters, and the text ends with the stop string that was met. The chunks of a
stream are llama.cpp's, which holds back what may become a stop string, as TGI does not.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from fake_backend import FakeServer, RefusedError

_MOST_STOPS = 4


class FakeTgi(FakeServer):
    """Text-generation-inference, at its root path, where Hugging Face's client sends to."""

    content_type = "text/event-stream"

    def answer(self, body: dict[str, Any]) -> Generator[bytes]:
        asked = body.get("parameters", {})
        _check(asked)
        is_sampled = asked.get("do_sample") or any(
            asked.get(name) not in (None, default)
            for name, default in (("temperature", 1.0), ("top_k", 0), ("top_p", 1.0))
        )
        payload = {
            "prompt": body["inputs"],
            "max_tokens": asked.get("max_new_tokens") or 100,
            "temperature": asked.get("temperature", 1.0) if is_sampled else 0.0,
            "top_k": asked.get("top_k", 0),
            "top_p": asked.get("top_p", 1.0),
            "repeat_penalty": asked.get("repetition_penalty", 1.0),
            "seed": asked.get("seed", -1),
            "stop": asked.get("stop", []),
        }
        if asked.get("grammar"):
            assert asked["grammar"]["type"] == "json"
            payload["json_schema"] = asked["grammar"]["value"]
        text = body["inputs"] if asked.get("return_full_text") else ""
        for piece in self.pieces(payload):
            new = piece.text + piece.stop_met
            text += new
            if body.get("stream"):
                yield _event(new, None if piece.finish is None else text)
        if not body.get("stream"):
            yield json.dumps([{"generated_text": text}]).encode()


def _check(asked: Mapping[str, Any]) -> None:
    """Raise what the router's validation raises."""
    for name in ("temperature", "repetition_penalty", "top_k"):
        if asked.get(name) is not None and asked[name] <= 0:
            raise _invalid(f"`{name}` must be strictly positive")
    for name in ("top_p", "typical_p"):
        if asked.get(name) is not None and not 0 < asked[name] < 1:
            raise _invalid(f"`{name}` must be > 0.0 and < 1.0")
    if len(asked.get("stop", [])) > _MOST_STOPS:
        raise _invalid(f"`stop` supports up to {_MOST_STOPS} stop sequences")


def _invalid(what: str) -> RefusedError:
    return RefusedError(
        422, {"error": f"Input validation error: {what}", "error_type": "validation"}
    )


def _event(text: str, whole: str | None) -> bytes:
    token = {"id": 0, "text": text, "logprob": 0.0, "special": False}
    event = {"index": 0, "token": token, "generated_text": whole, "details": None}
    return f"data:{json.dumps(event)}\n\n".encode()
