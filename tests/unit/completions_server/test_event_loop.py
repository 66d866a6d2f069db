"""A slow server never blocks the event loop.

The fake server answers slowly: the sync client is blocked, the async client waits.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fake_server import DONE, PROMPT, FakeServer, Pieces, piece
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel
from workflows.errors import WorkflowRuntimeError

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core import GenerationError
from urial_core.backends.completions_server import CompletionsServerModel

SLOW = 0.3
"""Seconds of the responses about the server and its tokenizer."""
TICK = 0.01
MOST_BETWEEN_TICKS = 0.25
TRIES = 3
"""A busy machine can cause a pause, but not every time."""


class Legs(BaseModel):
    """How many legs an animal has."""

    legs: int


def legs(legs: int) -> int:
    """Return how many legs."""
    return legs


CALL = '{"name": "Legs", "arguments": {"legs": 8}}'


class SlowServer(FakeServer):
    """A fake server that is slow in all but completions."""

    def __init__(self, kind: str, delay: float) -> None:
        super().__init__(kind, self._answered)
        self.blocking_paths = list[str]()  # requested by the sync client in an event loop
        self._delay = delay

    def model(self, **options: Any) -> CompletionsServerModel:
        """Return a model whose clients block or wait, as real ones do."""
        return CompletionsServerModel(
            "http://server.test/v1",
            "base",
            http_client=httpx.Client(transport=httpx.MockTransport(self._blocking)),
            http_async_client=httpx.AsyncClient(transport=httpx.MockTransport(self._waiting)),
            **options,
        )

    def _blocking(self, request: httpx.Request) -> httpx.Response:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            self.blocking_paths.append(request.url.path)
        time.sleep(self._delay_of(request))
        return self.handle(request)

    async def _waiting(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self._delay_of(request))
        return self.handle(request)

    def _models(self) -> Any:
        [entry] = super()._models()["data"]
        return {"data": [entry, {**entry, "id": "other"}]}

    def _delay_of(self, request: httpx.Request) -> float:
        return self._delay if request.url.path in ("/props", "/tokenize") else 0.0

    def _answered(self, body: Any) -> Any:
        """Return a call or JSON if constrained, and prose otherwise."""
        constraint = json.dumps(body.get("json_schema") or body.get("structured_outputs") or "")
        if "grammar" in body:
            text = json.loads(body["grammar"].removeprefix("root ::= ").rpartition(" | ")[2])
        elif '"choice"' in constraint:
            text = body["structured_outputs"]["choice"][-1]
        else:
            text = (
                CALL
                if "arguments" in constraint
                else '{"legs": 8}'
                if constraint != '""'
                else "Eight."
            )
        if body.get("stream"):
            return Pieces([piece(text), piece("", "stop"), DONE])
        return {"choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}


async def longest_pause(work: Awaitable[Any]) -> float:
    """Return the longest time, in seconds, that a task on the event loop had to wait."""
    pauses = list[float]()

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    await work
    await asyncio.sleep(2 * TICK)
    ticking.cancel()
    return max(pauses)


async def _read(source: Any) -> None:
    async for _ in source:
        pass


async def _read_later(source: Awaitable[Any]) -> None:
    await _read(await source)


MESSAGES = [ChatMessage(content="Spiders?")]
PREDICTED = PromptTemplate("Spiders?")
TOOL = {
    "type": "function",
    "function": {"name": "Legs", "parameters": Legs.model_json_schema()},
}
LANGCHAIN: dict[str, Callable[[ChatUrial], Awaitable[Any]]] = {
    "ainvoke": lambda chat: chat.ainvoke("Spiders?"),
    "astream": lambda chat: _read(chat.astream("Spiders?")),
    "abatch": lambda chat: chat.abatch(["Spiders?", "Ants?"]),
    "another model": lambda chat: asyncio.gather(
        chat.ainvoke("Spiders?"), _later(lambda: chat.ainvoke("Ants?", model="other"))
    ),
    "ainvoke with tools": lambda chat: chat.bind_tools([Legs]).ainvoke("Spiders?"),
    "astream with tools": lambda chat: _read(chat.bind_tools([Legs]).astream("Spiders?")),
    "ainvoke, typed": lambda chat: chat.with_structured_output(Legs).ainvoke("Spiders?"),
    "astream, typed": lambda chat: _read(
        chat.with_structured_output(Legs.model_json_schema()).astream("Spiders?")
    ),
}
LLAMA_INDEX: dict[str, Callable[[UrialLLM], Awaitable[Any]]] = {
    "achat": lambda llm: llm.achat(MESSAGES),
    "astream_chat": lambda llm: _read_later(llm.astream_chat(MESSAGES)),
    "achat with tools": lambda llm: llm.achat(MESSAGES, tools=[TOOL]),
    "astream_chat with tools": lambda llm: _read_later(llm.astream_chat(MESSAGES, tools=[TOOL])),
    "astructured_predict": lambda llm: llm.astructured_predict(Legs, PREDICTED),
    "astream_structured_predict": lambda llm: _read_later(
        llm.astream_structured_predict(Legs, PREDICTED)
    ),
}
WAYS: dict[str, tuple[Any, type[Any], str]] = {
    **{name: (ask, ChatUrial, "vllm") for name, ask in LANGCHAIN.items()},
    **{name: (ask, UrialLLM, "llama.cpp") for name, ask in LLAMA_INDEX.items()},
}


async def _later(start: Callable[[], Awaitable[Any]]) -> Any:
    """Start while the server is being detected."""
    await asyncio.sleep(SLOW / 6)
    return await start()


async def send(ask: Callable[[Any], Awaitable[Any]], make: type[Any], server: SlowServer) -> None:
    """Send a request through a new chat model or LLM of the server."""
    await ask(make(llm=server.model(), prompt=PROMPT, max_tokens=64))


@pytest.mark.parametrize("way", WAYS)
async def test_a_slow_server_does_not_block_the_event_loop(way: str) -> None:
    """Discovery, token budget, tool steps and usage counts leave it free, in either adapter."""
    ask, make, kind = WAYS[way]
    await send(ask, make, SlowServer(kind, delay=0.0))  # imports what is imported at first use
    for _ in range(TRIES):
        server = SlowServer(kind, SLOW)
        pause = await longest_pause(send(ask, make, server))
        assert "/tokenize" in server.paths
        assert server.blocking_paths == []
        if pause < MOST_BETWEEN_TICKS:
            return
    pytest.fail(f"The event loop was blocked for {pause:.2f} s.")


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:inspect"
)  # the agent inspects all attributes
async def test_an_agent_does_not_wait_for_token_counts() -> None:
    """LlamaIndex's agents read the window within the loop: an estimate is enough there."""
    server = SlowServer("vllm", delay=0.0)
    llm = UrialLLM(llm=server.model(context_window=4096), prompt=PROMPT, max_tokens=64)
    agent = FunctionAgent(llm=llm, tools=[legs])
    with suppress(WorkflowRuntimeError, GenerationError):  # it never answers
        await agent.run("Spiders?", max_iterations=2)
    assert server.blocking_paths == []
    estimate = llm.metadata.context_window
    counted = await asyncio.to_thread(lambda: llm.metadata.context_window)
    assert 0 < estimate < counted
    assert llm.metadata.context_window == counted
