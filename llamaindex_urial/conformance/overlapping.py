"""Several calls at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.endpoints import (
    CHATS,
    ENDPOINTS,
    Endpoint,
    Question,
    acollect,
    collect,
    text_of,
)

__all__ = ["OverlappingTests"]

_AT_A_TIME = 4
_GAINED = 0.8  # the part of the time in turn that four calls together may take
_BLOCKED = 0.5  # the part of a call for which it may hold the event loop up without a break
_SHORT = 0.05  # seconds that it may always do so
_TICK = 0.001
_TRIALS = 3  # on a busy machine one may be unlucky


class OverlappingTests(LLMClaims):
    """Threads, tasks and the event loop."""

    @property
    def distinct_prompts(self) -> list[str]:
        """Four prompts with different answers."""
        return [f"{self.prompt} ({number})" for number in range(_AT_A_TIME)]

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("run_jobs, tree_summarize and workflows, which call one LLM several times at once")
    def test_answers_are_not_mixed_up(self, llm: LLM, endpoint: Endpoint) -> None:
        """Calls that overlap, in threads or in tasks, each get the answer they would get alone."""
        self.needs("deterministic")
        questions: list[Question] = [
            [ChatMessage(role="user", content=prompt)] for prompt in self.distinct_prompts
        ]
        alone = [self.text(llm, endpoint, question) for question in questions]
        if len(set(alone)) == 1:
            pytest.skip("the answers to `distinct_prompts` are all the same")

        if endpoint.is_async:
            together = self.run_async(_in_tasks(llm, endpoint, questions))
        else:
            together = self.run(lambda: _in_threads(llm, endpoint, questions))

        assert together == alone

    @pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e.is_async], ids=str)
    @contract("agents and workflows, which run on one event loop (agent/workflow)")
    def test_event_loop_runs_on(self, llm: LLM, endpoint: Endpoint) -> None:
        """While an answer is awaited or read, other tasks of the event loop get their turns."""
        self.needs("is_truly_async")
        self.ask(llm, endpoint)  # what is done once only is done

        async def answered() -> None:
            await acollect(llm, endpoint, self.question(endpoint))

        measured = list[str]()
        for _ in range(_TRIALS):
            blocked, duration = self.run_async(_longest_block(answered))
            if blocked <= max(_SHORT, _BLOCKED * duration):
                return
            measured.append(f"blocked for {blocked:.3f} s of {duration:.3f} s")
        raise AssertionError("; ".join(measured))

    @contract("run_jobs, and synthesizers with use_async=True (async_utils.py)")
    def test_awaited_together_is_faster(self, llm: LLM) -> None:
        """Four answers awaited together take less time than one after the other."""
        self.needs("concurrent")
        endpoint = Endpoint("achat")
        questions: list[Question] = [
            [ChatMessage(role="user", content=prompt)] for prompt in self.distinct_prompts
        ]
        self.ask(llm, endpoint, questions[0])  # as above

        async def durations() -> tuple[float, float]:
            begin = time.perf_counter()
            for question in questions:
                await acollect(llm, endpoint, question)
            middle = time.perf_counter()
            await _in_tasks(llm, endpoint, questions)
            return middle - begin, time.perf_counter() - middle

        trials = [self.run_async(durations()) for _ in range(_TRIALS)]
        in_turn, together = (min(times) for times in zip(*trials, strict=True))
        assert together < _GAINED * in_turn, f"{together:.3f} s, as against {in_turn:.3f} s in turn"


async def _longest_block(answered: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Get for how long the event loop stood still at most, and how long it all took."""
    ticks = list[float]()

    async def tick() -> None:
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(_TICK)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(2 * _TICK)
    begin = time.perf_counter()
    await answered()
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
