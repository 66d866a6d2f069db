"""Servers that lie about types: whatever a field holds, the error is typed and shows it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import httpx
import pytest
from fake_server import DONE, KINDS, WAYS, FakeServer, Pieces, chunks_from, event, request_for

from urial_core.errors import GenerationError, UrialError
from urial_core.structured.constraints import Choice

pytestmark = pytest.mark.no_cover  # many inputs to lines that other tests run too

RESPONSE: dict[str, Any] = {
    "choices": [
        {
            "index": 0,
            "text": "Yes",
            "finish_reason": "stop",
            "logprobs": {
                "tokens": ["Yes"],
                "token_logprobs": [-0.5],
                "top_logprobs": [{"Yes": -0.5, "No": -1.5}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
    "timings": {"cache_n": 1, "prompt_n": 2, "predicted_n": 1},
}
CHAT_LOGPROBS = {
    "content": [
        {"token": "Yes", "logprob": -0.5, "top_logprobs": [{"token": "No", "logprob": -1.5}]}
    ]
}
WRONG = (None, 5, "x", [5], {"x": 5}, True, [[]], 1e400)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all parts of a value."""
    yield path
    parts = enumerate(value) if isinstance(value, list) else ()
    for key, part in value.items() if isinstance(value, dict) else parts:
        yield from places(part, (*path, key))


def with_part(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    """Return a copy of a value with another part at a path."""
    if not path:
        return part
    changed = copy.deepcopy(value)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = part
    return changed


CHAT = with_part(RESPONSE, ("choices", 0, "logprobs"), CHAT_LOGPROBS)


@pytest.mark.parametrize("path", list(places(RESPONSE)), ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("way", WAYS)
async def test_a_field_of_another_type(way: str, path: tuple[Any, ...]) -> None:
    """Each part of a response in turn is of each wrong type: an answer or a typed error."""
    fake_server = FakeServer("generic")
    model = fake_server.model(model="base")
    for response in (RESPONSE, CHAT):
        for part in WRONG:
            try:
                wrong = with_part(response, path, part)
            except (KeyError, IndexError):
                continue  # the other shape of log-probabilities
            answer = Pieces([event(wrong), DONE]) if "stream" in way else wrong
            fake_server.answer = lambda _, answer=answer: answer
            try:
                chunks = await chunks_from(model, way, request_for(logprobs=2))
            except UrialError:
                continue
            assert "".join(chunk.text for chunk in chunks) in ("Yes", "x", "")
            counts = [count for chunk in chunks if chunk.usage for count in astuple(chunk.usage)]
            assert {type(count) for count in counts} <= {int, type(None)}  # unknown is None


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ({"choices": 5}, "choices = 5"),
        ({"choices": [{"text": 5}]}, "choices.0.text = 5"),
        ({"choices": [{"text": "a"}], "usage": "x"}, "usage = 'x'"),
        ([1, 2], r"\[1, 2\] instead of an object"),
    ],
)
def test_the_error_shows_what_the_server_sent(wrong: Any, shown: str) -> None:
    """The message has the field, its value, and what to check."""
    model = FakeServer("generic", lambda _: wrong).model(model="base")
    with pytest.raises(GenerationError, match=f"{shown}.*base_url"):
        model.complete([request_for()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/v1/models", "/props", "/tokenize"])
@pytest.mark.parametrize("way", ["complete", "astream"])
async def test_facts_of_other_types(kind: str, path: str, way: str) -> None:
    """A list of models, properties or tokens of wrong types: an answer or a typed error."""
    for wrong in facts_of_wrong_types():
        fake_server = FakeServer(kind)
        fake_server.overrides[path] = wrong
        model = fake_server.model()
        for constraint in (None, Choice(("Yes", "No"))):
            try:
                await chunks_from(model, way, request_for(constraint=constraint))
            except UrialError:
                continue


def facts_of_wrong_types() -> Iterator[Any]:
    """Yield answers of servers about themselves, with each part of each wrong type."""
    entry = {"id": "base", "owned_by": "vllm", "aliases": ["a"], "meta": {"n_ctx": 5}}
    facts = {
        "data": [{**entry, "max_model_len": 5}],
        "default_generation_settings": {"n_ctx": 5},
        "total_slots": 2,
        "tokens": [1],
    }
    for path in places(facts):
        for part in WRONG[:-1]:
            yield with_part(facts, path, part)


@pytest.mark.parametrize("way", WAYS)
async def test_json_that_is_too_deep(way: str) -> None:
    """JSON nested beyond Python's limit is a typed error, as a whole and in a stream."""
    deep = b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    pieces = [b"data: " + deep + b"\n\n"]

    def answer(_: Any) -> Any:
        whole = httpx.Response(200, content=deep, headers={"content-type": "application/json"})
        return Pieces(pieces) if "stream" in way else whole

    with pytest.raises(UrialError):
        await chunks_from(FakeServer("generic", answer).model(), way, request_for())
