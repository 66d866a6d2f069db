"""Several calls at a time: threads, tasks and the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.calls import (
    CHATS,
    METHODS,
    Endpoint,
    Question,
    acollect,
    collect,
    text_of,
)
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["ConcurrencyTests"]

_CALLS = 4
_GAIN = 0.8  # the share of the time in turn that four calls together may take
_BLOCKED = 0.5  # the share of a call for which it may block the event loop in one go
_SHORT = 0.05  # seconds for which it always may
_TICK = 0.001
_TRIALS = 3  # on a busy machine one may be unlucky


class ConcurrencyTests(LLMClaims):
    """Test calls that overlap."""

    @property
    def distinct_prompts(self) -> list[str]:
        """Four prompts with different answers."""
        return [f"{self.prompt} ({number})" for number in range(_CALLS)]

    @property
    def _questions(self) -> list[Question]:
        return [[ChatMessage(role="user", content=prompt)] for prompt in self.distinct_prompts]

    @contract(
        "run_jobs, tree_summarize and workflows, which call one LLM several times at once", CHATS
    )
    def test_answers_are_not_mixed_up(self, llm: LLM, endpoint: Endpoint) -> None:
        """Calls that overlap, in threads or in tasks, each get the answer they would get alone."""
        self.needs("is_deterministic")
        alone = [self.text(llm, endpoint, question) for question in self._questions]
        if len(set(alone)) == 1:
            pytest.skip("the answers to `distinct_prompts` are all the same")

        if endpoint.is_async:
            together = self.run_async(_in_tasks(llm, endpoint, self._questions))
        else:
            together = self.run(lambda: _in_threads(llm, endpoint, self._questions))

        assert together == alone

    @contract(
        "agents and workflows, which run on one event loop (agent/workflow)",
        [method for method in METHODS if method.is_async],
    )
    def test_does_not_block_the_event_loop(self, llm: LLM, endpoint: Endpoint) -> None:
        """While an answer is awaited or read, other tasks of the event loop run."""
        self.needs("has_native_async")
        self.ask(llm, endpoint)  # the first call may load the model

        measured = list[str]()
        for _ in range(_TRIALS):
            blocked, duration = self.run_async(
                _longest_block(acollect(llm, endpoint, self.question(endpoint)))
            )
            if blocked <= max(_SHORT, _BLOCKED * duration):
                return
            measured.append(f"blocked for {blocked:.3f} s of {duration:.3f} s")
        raise AssertionError("; ".join(measured))

    @contract("run_jobs, and synthesizers with use_async=True (async_utils.py)")
    def test_awaited_together_is_faster(self, llm: LLM) -> None:
        """Four answers awaited together take less time than one after the other."""
        self.needs("supports_concurrency")
        endpoint, questions = Endpoint("achat"), self._questions
        self.ask(llm, endpoint, questions[0])  # the first call may load the model

        async def durations() -> tuple[float, float]:
            begin = time.perf_counter()
            for question in questions:
                await acollect(llm, endpoint, question)
            middle = time.perf_counter()
            await _in_tasks(llm, endpoint, questions)
            return middle - begin, time.perf_counter() - middle

        trials = [self.run_async(durations()) for _ in range(_TRIALS)]
        in_turn, together = (min(times) for times in zip(*trials, strict=True))
        assert together < _GAIN * in_turn, f"{together:.3f} s, as against {in_turn:.3f} s in turn"


async def _longest_block(answer: Coroutine[Any, Any, Any]) -> tuple[float, float]:
    """Return the longest time for which the event loop was blocked, and the whole time."""
    ticks = list[float]()

    async def tick() -> None:
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(_TICK)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(2 * _TICK)
    begin = time.perf_counter()
    await answer
    end = time.perf_counter()
    ticking.cancel()
    times = [begin, *(moment for moment in ticks if begin < moment < end), end]
    return max(later - sooner for sooner, later in pairwise(times)), end - begin


async def _in_tasks(llm: LLM, endpoint: Endpoint, questions: list[Question]) -> list[str]:
    answers = await asyncio.gather(*(acollect(llm, endpoint, one) for one in questions))
    return [text_of(answer[-1]) for answer in answers]


def _in_threads(llm: LLM, endpoint: Endpoint, questions: list[Question]) -> list[str]:
    with ThreadPoolExecutor(len(questions)) as threads:
        answers = threads.map(lambda question: collect(llm, endpoint, question), questions)
        return [text_of(answer[-1]) for answer in answers]
