"""Real servers and real connections that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from running_server import LlamaServer, RunningServer

from langchain_urial import ChatUrial
from urial_core import CompletionRequest, Message, UrialChat, load_prompt
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.errors import (
    ContextOverflowError,
    GenerationError,
    ServerUnreachableError,
)

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]

FOREVER = {"ignore_eos": True}
PROMPT = load_prompt("short")


def endless(model: CompletionsServerModel) -> CompletionRequest:
    """Return a request that runs until it is stopped."""
    request = UrialChat(model, PROMPT).request([Message("user", "Tell me a very long story.")])
    return replace(request, stop=(), parameters=request.parameters.replace(max_tokens=1500))


@pytest.fixture
def proxy(server: RunningServer) -> Generator[FaultProxy]:
    """A proxy in front of the server."""
    with FaultProxy(server.url) as proxy:
        yield proxy


def test_closing_a_stream_early_stops_the_server(server: RunningServer) -> None:
    """The server's own counters show that it is busy, and then idle."""
    model = server.model(extra_body=FOREVER)
    chunks = model.stream(endless(model))
    next(chunks)
    assert server.becomes(busy=True)
    chunks.close()
    assert server.becomes(busy=False)


async def test_closing_an_async_stream_early_stops_the_server(server: RunningServer) -> None:
    """The server becomes idle as with a sync stream."""
    model = server.model(extra_body=FOREVER)
    chunks = model.astream(await asyncio.to_thread(endless, model))
    await anext(chunks)
    assert await asyncio.to_thread(server.becomes, busy=True)
    await chunks.aclose()
    assert await asyncio.to_thread(server.becomes, busy=False)


async def test_cancelling_a_call_stops_the_server(server: RunningServer) -> None:
    """Cancelling a task that waits for a whole reply stops the server too."""
    model = server.model(extra_body=FOREVER)
    request = await asyncio.to_thread(endless, model)
    task = asyncio.create_task(model.acomplete([request]))
    assert await asyncio.to_thread(server.becomes, busy=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.becomes, busy=False)


@pytest.mark.parametrize("way", ["complete", "stream"])
def test_a_prompt_beyond_the_window_is_an_error(model: CompletionsServerModel, way: str) -> None:
    """The server's refusal is this project's error, with the server's numbers."""
    chat = UrialChat(model, PROMPT)
    request = replace(chat.request([Message("user", "Hi")]), prompt="a b " * 1500)
    ways: dict[str, Callable[[], Any]] = {
        "complete": lambda: model.complete([request]),
        "stream": lambda: list(model.stream(request)),
    }
    with pytest.raises(ContextOverflowError) as caught:
        ways[way]()
    assert caught.value.window == model.context_window
    assert caught.value.prompt_tokens >= 2048


def test_a_conversation_beyond_the_window_is_truncated(chat: ChatUrial) -> None:
    """By the server's window and tokenizer, the oldest turns are removed."""
    truncating = ChatUrial(llm=chat.llm, prompt="short", max_tokens=8, overflow="truncate")
    talk = [("human", "word " * 1800), ("ai", "Yes."), ("human", "Say hello.")]
    reply = truncating.invoke(talk)
    assert reply.response_metadata["truncated_messages"] == 2
    assert reply.text


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_connection_cut_in_the_middle_of_a_reply(proxy: FaultProxy, way: str) -> None:
    """The error has the text so far; the request is not retried."""
    model = CompletionsServerModel(proxy.base_url, extra_body=FOREVER, max_retries=5, timeout=60)
    request = await asyncio.to_thread(endless, model)
    proxy.cut_after = 20_000
    before = proxy.connections
    got: list[str] = []
    with pytest.raises(GenerationError) as caught:
        await _collect(model, request, way, got)
    assert caught.value.text == "".join(got) != ""
    assert proxy.connections <= before + 1


async def _collect(
    model: CompletionsServerModel, request: CompletionRequest, way: str, got: list[str]
) -> None:
    if way == "stream":
        for chunk in model.stream(request):
            got.append(chunk.text)  # noqa: PERF401 - what came before the error counts
    else:
        async for chunk in model.astream(request):
            got.append(chunk.text)  # noqa: PERF401


def test_a_connection_that_fails_at_first_is_retried(proxy: FaultProxy) -> None:
    """No response had come, so the SDK retries, and the reply is complete."""
    proxy.refuse = 2
    chat = ChatUrial.from_endpoint(proxy.base_url, prompt="short", max_tokens=8, timeout=60)
    assert chat.invoke("Name a fruit.").text
    assert proxy.connections >= 3


def test_a_slow_server_times_out(proxy: FaultProxy) -> None:
    """The timeout of ``from_endpoint`` applies, and the error names it."""
    chat = ChatUrial.from_endpoint(
        proxy.base_url, "gemma", prompt="short", timeout=0.3, max_retries=0
    )
    proxy.delay = 1.0
    with pytest.raises(ServerUnreachableError, match="timeout="):
        chat.invoke("Name a fruit.")


def test_a_missing_server_is_an_error() -> None:
    """The error names the URL and what to check."""
    model = CompletionsServerModel("http://127.0.0.1:9/v1", max_retries=0)
    with pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:9/v1.*running"):
        model.server()


def test_a_server_that_crashes_and_restarts(tmp_path: Path) -> None:
    """A reply that it cuts is an error; while it is down, it is unreachable; then replies come."""
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    first = LlamaServer(tmp_path)
    port = first.port
    model = first.model(extra_body=FOREVER, max_retries=0)
    request = endless(model)
    chunks = model.stream(request)
    text = next(chunks).text
    first.kill()
    with pytest.raises(GenerationError) as caught:
        list(chunks)
    assert caught.value.text.startswith(text)
    assert text
    with pytest.raises(ServerUnreachableError):
        model.complete([request])
    second = LlamaServer(tmp_path, port)
    try:
        short = replace(request, parameters=request.parameters.replace(max_tokens=4))
        [completion] = model.complete([short])
        assert completion.text
        assert completion.finish == "length"
    finally:
        second.kill()
