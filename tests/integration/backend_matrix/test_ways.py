"""Batches, closed streams and servers with several clients, on every backend."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest
from backend_case import BackendCase
from backend_cases import BACKENDS, Kind
from running_server import LlamaServer

pytestmark = [pytest.mark.model, pytest.mark.server, pytest.mark.matrix]

QUESTIONS = ("Name a fruit.", "Who wrote Hamlet?")
"""Each begins with another word, so that two prompts share only the constant prefix."""
BETWEEN = "Tell me about tea."
ENDLESS = "List 100 animals."
"""This model repeats itself on it up to any limit."""
LIMIT = 300


async def test_several_together_get_the_replies_that_each_gets(
    backend_case: BackendCase, kind: Kind
) -> None:
    """Replies to a batch are in order, and the same as one by one.

    The server has one slot, so it answers a batch in some order, one by one; and each question
    follows another one, so that the prefix cache always holds exactly the constant prefix.
    """
    await backend_case.ask(BETWEEN)
    single = [(await backend_case.ask(question)).text for question in QUESTIONS]
    for asynchronous in (False, True):
        await backend_case.ask(BETWEEN)
        together = await backend_case.several(QUESTIONS, asynchronous=asynchronous)
        assert [answer.text for answer in together] == single
        if "several" in kind.usage:
            assert all(answer.usage and answer.usage.written <= 12 for answer in together)


async def test_the_stream_that_is_closed_below_would_be_long(
    make: Callable[..., BackendCase],
) -> None:
    """Unless it is closed, it runs to its limit: otherwise the next test would show nothing."""
    long = make(BACKENDS["LangChain from_endpoint"], max_tokens=LIMIT)
    assert (await long.ask(ENDLESS)).finish == "length"


@pytest.mark.parametrize("way", ["stream", "async stream"])
async def test_closing_a_stream_stops_the_model(
    kind: Kind, make: Callable[..., BackendCase], server: LlamaServer, way: str
) -> None:
    """A stream that is closed early is not generated to its end, and the next request runs."""
    long = make(kind, max_tokens=LIMIT)
    before = server.written()
    received = await long.close_early(ENDLESS, way)
    if kind.closed_by_garbage_collection:
        await asyncio.sleep(0.1)  # in which the event loop closes the stream
        gc.collect()
    assert received
    answer = await make(kind).ask(QUESTIONS[0], way)
    assert answer.text
    if kind.server:
        assert server.written() - before < LIMIT / 2


def test_all_backends_on_one_server_give_the_same_text(make: Callable[..., BackendCase]) -> None:
    """Greedy text of one prompt does not depend on class, client and wire format.

    This holds where the server has one slot, keeps no store of earlier states, and has just
    answered the same: then each request computes only the last token of the prompt.
    """
    cases = {name: make(kind) for name, kind in BACKENDS.items() if kind.server}
    assert len(cases) >= 8
    for question in QUESTIONS:
        cases["LangChain from_endpoint"].whole(question)
        texts = {name: backend_case.whole(question).text for name, backend_case in cases.items()}
        assert set(texts.values()) == {texts["LangChain from_endpoint"]}, texts
