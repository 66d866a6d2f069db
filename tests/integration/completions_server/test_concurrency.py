"""Concurrent requests: as many as were asked for are active, and never more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from llama_index.core.async_utils import run_jobs
from llama_index.core.llms import ChatMessage
from running_server import RunningServer

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]

AT_ONCE = 2
LONG = "Write a long story about a dragon and a knight."
QUESTIONS = [LONG, *(f"What is {number} plus {number}?" for number in range(2, 9))]


@contextmanager
def watched(server: RunningServer) -> Generator[list[int]]:
    """Collect the server's own counts of active requests."""
    counts = list[int]()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            counts.append(server.active_requests())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield counts
    finally:
        over.set()
        watcher.join()


class Recorder(BaseCallbackHandler):
    """Records starts and ends, in order."""

    def __init__(self) -> None:
        self.events = list[str]()
        self._questions = dict[Any, str]()

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, **kwargs: Any
    ) -> None:
        self._questions[run_id] = messages[0][0].text
        self.events.append(f"+{messages[0][0].text}")

    def on_llm_end(self, response: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.events.append(f"-{self._questions[run_id]}")


@pytest.mark.parametrize("way", [pytest.param("batch", marks=pytest.mark.matrix), "abatch"])
async def test_a_reply_that_ends_makes_room_for_the_next(server: RunningServer, way: str) -> None:
    """Short replies come and go beside a long one; all are in order."""
    chat = ChatUrial.from_endpoint(
        server.base_url,
        prompt="short",
        max_tokens=160,
        repetition_penalty=1.0,
        timeout=240.0,
        stop=["=", "?"],
    )
    recorder = Recorder()
    config: Any = {"max_concurrency": AT_ONCE, "callbacks": [recorder]}
    with watched(server) as counts:
        if way == "batch":
            replies = await asyncio.to_thread(chat.batch, QUESTIONS, config)
        else:
            replies = await chat.abatch(QUESTIONS, config)
    lengths = [reply.usage_metadata["output_tokens"] for reply in replies]  # type: ignore[index]
    assert lengths[0] > 2 * max(lengths[1:4]), "the long reply is not long: choose another question"
    assert max(counts) == AT_ONCE
    before_the_end = recorder.events[: recorder.events.index(f"-{LONG}")]
    assert sum(event.startswith("-") for event in before_the_end) >= 2
    active = 0
    for number, event in enumerate(recorder.events):
        active += 1 if event.startswith("+") else -1
        assert active <= AT_ONCE, recorder.events[: number + 1]


async def test_llamaindexs_jobs_run_one_per_worker(server: RunningServer) -> None:
    """Each worker of ``run_jobs`` waits for a reply of its own."""
    llm = UrialLLM.from_endpoint(server.base_url, prompt="short", max_tokens=32, timeout=240.0)
    jobs = [llm.achat([ChatMessage(question)]) for question in QUESTIONS]
    with watched(server) as counts:
        replies = await run_jobs(jobs, workers=AT_ONCE)
    assert all(reply.message.content for reply in replies)
    assert max(counts) == AT_ONCE
