"""Streams, and connections to a server, are closed with the event loop that opened them."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_server import serving

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core import (
    CompletionChunk,
    CompletionModel,
    CompletionRequest,
    Message,
    UrialChat,
    UrialError,
    load_prompt,
)
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.backends.completions_server.connection import _default_tls
from urial_core.testing import FakeModel

RUNS = 200
DESCRIPTORS = Path("/proc/self/fd")

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(not DESCRIPTORS.exists(), reason="needs Linux's /proc"),
]


def answer(body: dict[str, Any]) -> bytes:
    """Return a completion."""
    choice = {"index": 0, "text": "Yes.", "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


def run_in_a_loop_closed_by_hand(main: Any) -> Any:
    """Run a coroutine as LlamaIndex's sync evaluators do."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.mark.parametrize(
    "run", [asyncio.run, pytest.param(run_in_a_loop_closed_by_hand, marks=pytest.mark.matrix)]
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_descriptors_stay_flat(run: Callable[[Any], Any]) -> None:
    """One event loop after another takes no more descriptors than one."""
    with serving(answer) as server:
        model = CompletionsServerModel(server.url, "base", dialect="generic")
        chat = ChatUrial(llm=model, prompt="short")
        run(chat.ainvoke("Hi"))
        before = len(os.listdir(DESCRIPTORS))  # noqa: PTH208 - the count alone
        most = before
        for _ in range(RUNS):
            assert run(chat.ainvoke("Hi")).text == "Yes."
            most = max(most, len(os.listdir(DESCRIPTORS)))  # noqa: PTH208
    assert most <= before + 8


def test_certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients of a process share them: reading them takes longer than a request."""
    read = list[object]()

    def counted(**options: Any) -> ssl.SSLContext:
        read.append(options)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    _default_tls.cache_clear()
    with serving(answer) as server:
        for _ in range(2):
            model = CompletionsServerModel(server.url, "base", dialect="generic")
            chat = ChatUrial(llm=model, prompt="short")
            for _ in range(2):
                assert asyncio.run(chat.ainvoke("Hi")).text == "Yes."
            assert chat.invoke("Hi").text == "Yes."
    _default_tls.cache_clear()
    assert len(read) == 1


async def test_a_loop_keeps_its_connection() -> None:
    """Requests of one loop share a connection."""
    with serving(answer) as server:
        model = CompletionsServerModel(server.url, "base", dialect="generic")
        chat = ChatUrial(llm=model, prompt="short")
        await chat.ainvoke("Hi")
        before = len(os.listdir(DESCRIPTORS))  # noqa: PTH208
        for _ in range(10):
            await chat.ainvoke("Hi")
        assert len(os.listdir(DESCRIPTORS)) <= before + 2  # noqa: PTH208


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_has_connections_of_its_own() -> None:
    """Parent and child may both ask a model that was used before the fork."""
    with serving(answer) as server:
        chat = ChatUrial(
            llm=CompletionsServerModel(server.url, "base", dialect="generic"), prompt="short"
        )
        assert chat.invoke("Hi").text == "Yes."
        connections = chat.llm._connection._sync()
        if (child := os.fork()) == 0:
            try:
                own = chat.llm._connection._sync() is not connections
                os._exit(0 if own and chat.invoke("Hi").text == "Yes." else 1)
            except UrialError:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert chat.invoke("Hi").text == "Yes."


class DisconnectingModel(FakeModel):
    """Fake that awaits something while its stream is closed, as a client that disconnects."""

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Write on and on."""
        self.requests.append(request)
        try:
            while True:
                yield CompletionChunk("word ")
        finally:
            self.closed += 1
            await asyncio.sleep(0)


async def stream_of(framework: str, model: CompletionModel) -> Any:
    """Return a stream of a reply of the model."""
    match framework:
        case "langchain":
            return ChatUrial(llm=model, prompt="short").astream("Hi")
        case "llamaindex":
            return await UrialLLM(llm=model, prompt="short").astream_complete("Hi")
    chat = UrialChat(model, load_prompt("short"))
    return chat.astream(await asyncio.to_thread(chat.request, [Message("user", "Hi")]))


def reported_after(framework: str, model: CompletionModel, leave: str) -> list[Any]:
    """Leave a stream after its first item, and return what its event loop reports as errors."""
    reported = list[Any]()

    async def read() -> Any:
        stream = await stream_of(framework, model)
        async for _ in stream:
            if leave == "raise":
                raise KeyError
            if leave == "cancel":
                await asyncio.sleep(60)
            break
        return stream

    async def main() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, found: reported.append(found))
        task = asyncio.ensure_future(read())
        if leave == "cancel":
            await asyncio.sleep(0.2)
            task.cancel()
        [result] = await asyncio.gather(task, return_exceptions=True)
        return result if leave == "hold" else None

    held = asyncio.run(main())
    assert (held is not None) == (leave == "hold")
    return reported


@pytest.mark.parametrize("leave", ["hold", "break", "raise", "cancel"])
@pytest.mark.parametrize("framework", ["core", "langchain", "llamaindex"])
def test_a_stream_is_closed_with_its_loop(framework: str, leave: str) -> None:
    """However a stream is left, the model's is closed by the end of the loop, without an error."""
    model = DisconnectingModel()
    assert reported_after(framework, model, leave) == []
    assert model.closed == len(model.requests) == 1


@pytest.mark.parametrize("framework", ["core", "langchain", "llamaindex"])
def test_a_held_stream_disconnects_with_its_loop(framework: str) -> None:
    """A server sees the client of a stream go when the stream's event loop ends."""

    def words(_: dict[str, Any]) -> Iterator[bytes]:
        while True:
            choice = {"index": 0, "text": "word ", "finish_reason": None}
            yield f"data: {json.dumps({'choices': [choice]})}\n\n".encode()

    with serving(words) as server:
        model = CompletionsServerModel(server.url, "base", dialect="generic")
        assert reported_after(framework, model, "hold") == []
        assert server.left_soon()
