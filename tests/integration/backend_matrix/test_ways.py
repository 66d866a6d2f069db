"""The ways to ask, by whatever backend_case: they differ in how text comes, and not in the text."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest
from backend_case import WAYS, BackendCase
from backend_cases import BACKENDS, Kind
from running_server import LlamaServer

pytestmark = [pytest.mark.model, pytest.mark.server]

QUESTIONS = ("Name a fruit.", "What color is the sky?", "Who wrote Hamlet?")
"""Each begins with another word, so that no two pages share more than the constant one."""
BETWEEN = "Tell me about tea."
ENDLESS = "List 100 animals."
"""This model repeats itself on it to any limit."""
LIMIT = 500


@pytest.mark.matrix
async def test_every_way_gives_the_same_text(backend_case: BackendCase) -> None:
    """Streaming and async change nothing about a greedy reply, and its pieces add up to it.

    llama.cpp's kernels differ with the number of tokens that they are given at once. So the page
    is asked about once before: from then on each request finds all but its last token computed.
    """
    await backend_case.ask(QUESTIONS[0])
    answers = [await backend_case.ask(QUESTIONS[0], way) for way in WAYS]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert {answer.finish for answer in answers} == {answers[0].finish}
    for answer in answers:
        assert "".join(answer.pieces) in ("", answer.text)
    assert all(len(answer.pieces) > 2 for answer in answers[2:])


@pytest.mark.matrix
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_several_together_get_the_replies_that_each_gets(
    backend_case: BackendCase, kind: Kind, *, asynchronous: bool
) -> None:
    """Replies to a batch are in order, and those that the questions get one by one.

    The server has one slot, so it answers a batch in some order, one by one; and each question
    comes after another one, so that what is computed of its page is always the constant part.
    """
    await backend_case.ask(BETWEEN)
    single = [(await backend_case.ask(question)).text for question in QUESTIONS]
    await backend_case.ask(BETWEEN)
    together = await backend_case.several(QUESTIONS, asynchronous=asynchronous)
    assert [answer.text for answer in together] == single
    if "several" in kind.usage:
        assert all(answer.usage and answer.usage.written <= 24 for answer in together)


@pytest.mark.matrix
async def test_the_stream_that_is_left_below_would_be_long(
    make: Callable[..., BackendCase],
) -> None:
    """Unless it is left, it goes on to its limit: else the next test would show nothing."""
    long = make(BACKENDS["LangChain from_endpoint"], max_tokens=LIMIT)
    assert (await long.ask(ENDLESS)).finish == "length"


@pytest.mark.matrix
@pytest.mark.parametrize("way", ["stream", "async stream"])
async def test_leaving_a_stream_stops_the_model(
    kind: Kind, make: Callable[..., BackendCase], server: LlamaServer, way: str
) -> None:
    """What is left early is not written to its end, and the next request is answered at once."""
    long = make(kind, max_tokens=LIMIT)
    before = server.written()
    left = await long.leave_early(ENDLESS, way)
    if kind.closed_by_garbage_collection:
        await asyncio.sleep(0.1)  # in which the event loop closes what was left
        gc.collect()
    assert left
    answer = await make(kind).ask(QUESTIONS[0], way)
    assert answer.text
    if kind.server:
        assert server.written() - before < LIMIT / 2


def test_all_roads_to_one_server_give_the_same_text(make: Callable[..., BackendCase]) -> None:
    """Greedy, unpenalised, of the same page, whatever class, client and wire format lie between.

    This holds where the server has one slot, keeps no store of earlier states, and has just been
    asked the same: then each request computes one token of the page, and the same one.
    """
    roads = {name: make(kind) for name, kind in BACKENDS.items() if kind.server}
    assert len(roads) >= 8
    for question in QUESTIONS:
        roads["LangChain from_endpoint"].whole(question)
        texts = {name: backend_case.whole(question).text for name, backend_case in roads.items()}
        assert set(texts.values()) == {texts["LangChain from_endpoint"]}, texts
