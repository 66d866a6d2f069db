"""Calls: how the chunks of the worker reach its callers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urial_core import GenerationError
from urial_core.backends.transformers import calls
from urial_core.backends.transformers.calls import Call, Deliveries, Item
from urial_core.completion import CompletionChunk, Usage

REQUEST: Any = None  # a call only numbers its requests


def chunks(text: str) -> list[CompletionChunk]:
    """Return a chunk for each character, with its number as token id."""
    made = [
        CompletionChunk(one, usage=Usage(1, n + 1), token_ids=(n,)) for n, one in enumerate(text)
    ]
    end = CompletionChunk("", "stop", Usage(1, len(text) + 1), token_ids=(len(text),))
    return [*made, end]


def test_a_whole_completion_wakes_its_caller_once() -> None:
    """Who waits for completions gets one item for each request, at its end."""
    items = list[Item]()
    call = Call("m", [REQUEST, REQUEST], items.append)
    for pair in zip(chunks("one"), chunks("two"), strict=True):
        for receiver, chunk in zip(call.receivers, pair, strict=True):
            receiver.receive(chunk)
    assert [number for number, _ in items] == [0, 1]
    for item in items:
        call.take(item)
    assert not call.unfinished
    assert [one.text for one in call.completions()] == ["one", "two"]
    assert call.completions()[0].token_ids == (0, 1, 2, 3)


def test_a_single_stream_gets_its_first_token_at_once_and_then_a_chunk_for_each_step() -> None:
    """The first token does not wait for the end of its step; those of one step come together."""
    items, deliveries = list[Item](), Deliveries()
    (receiver,) = Call("m", [REQUEST], items.append, deliveries).receivers
    first, *draft, last, end = chunks("abcde")
    receiver.receive(first)
    assert texts(items) == ["a"]
    for chunk in draft:
        receiver.receive(chunk)
    assert texts(items) == ["a"]
    deliveries.deliver()
    assert texts(items) == ["a", "bcd"]
    receiver.receive(last)
    receiver.receive(end)
    assert texts(items) == ["a", "bcd", "e"]
    deliveries.deliver()
    assert len(items) == 3


@given(step=st.floats(0, 0.2), texts_=st.lists(st.text(min_size=1), min_size=1, max_size=40))
def test_streams_lose_nothing_and_are_not_woken_too_often(step: float, texts_: list[str]) -> None:
    """Each stream's chunks add up, in order, and are as far apart as the number of streams asks."""
    now, deliveries, streams = [0.0], Deliveries(), list[tuple[Any, list[tuple[float, Item]]]]()
    for text in texts_:
        got = list[tuple[float, Item]]()

        def put(item: Item, got: list[tuple[float, Item]] = got) -> None:
            got.append((now[0], item))

        (receiver,) = Call("m", [REQUEST], put, deliveries).receivers
        streams.append(((receiver, chunks(text)), got))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls.time, "monotonic", lambda: now[0])
        for number in range(max(map(len, texts_)) + 1):
            now[0] += step
            for (receiver, waiting), _ in streams:
                if number < len(waiting):
                    receiver.receive(waiting[number])
            deliveries.deliver()
    shortest = min(map(len, texts_))
    for ((_, sent), got), text in zip(streams, texts_, strict=True):
        received = [item[1] for _, item in got]
        assert "".join(chunk.text for chunk in received) == text
        assert [n for chunk in received for n in chunk.token_ids] == list(range(len(sent)))
        assert received[-1].usage == sent[-1].usage
        assert [chunk.finish for chunk in received] == [None] * (len(received) - 1) + ["stop"]
        while_all_stream = [at for at, _ in got[1:-1] if at <= step * shortest]
        least = 0.001 * (len(texts_) - 1)
        assert all(b - a >= least - 1e-9 for a, b in pairwise(while_all_stream))


def test_an_error_comes_after_the_text_that_was_held() -> None:
    """What was generated before a failure is delivered, then the error is raised."""
    items, deliveries = list[Item](), Deliveries()
    call = Call("m", [REQUEST], items.append, deliveries)
    (receiver,) = call.receivers
    for chunk in chunks("abc")[:3]:
        receiver.receive(chunk)
    receiver.receive(RuntimeError("out of memory"))
    assert texts(items[:-1]) == ["a", "bc"]
    with pytest.raises(GenerationError, match="out of memory"):
        call.take(items[-1])


def texts(items: list[Item]) -> list[str]:
    """Return the texts of delivered chunks."""
    return [item.text for _, item in items if isinstance(item, CompletionChunk)]
