"""Failures: each is an error that says what to do, and no text is lost or repeated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fake_server import (
    DONE,
    KINDS,
    PROMPT,
    WAYS,
    FakeServer,
    Pieces,
    chunks_from,
    event,
    piece,
    refusal,
    request_for,
)
from langchain_core.exceptions import ContextOverflowError as LangChainOverflowError

from langchain_urial import ChatUrial
from urial_core.backends.completions_server import CompletionsServerModel, connection
from urial_core.backends.completions_server.environment import set_variables
from urial_core.errors import (
    ContextOverflowError,
    GenerationError,
    ParameterError,
    ServerError,
    ServerUnreachableError,
    UnsupportedSchemaError,
    UrialError,
)
from urial_core.structured.constraints import JsonSchema


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (httpx.ConnectError("refused"), ServerUnreachableError, "no connection to http.*running"),
        (httpx.ReadTimeout("slow"), ServerUnreachableError, "did not answer in time.*timeout="),
        (httpx.RemoteProtocolError("cut"), ServerUnreachableError, "no connection"),
        (refusal(500, message="boom"), ServerError, "500.*boom.*log"),
        (refusal(429, message="slow down"), ServerError, "429.*slow down.*max_retries="),
        (refusal(404, message="no model m"), ServerError, "404.*no model m.*model= and base_url"),
        (refusal(403, message="no"), ServerError, "403.*api_key="),
        (refusal(400, message="bad top_p"), ServerError, "400.*bad top_p"),
    ],
)
async def test_a_failed_request_is_an_error(
    way: str, failure: Any, kind: type[UrialError], message: str
) -> None:
    """A failure before any text is a typed error that names the server."""
    fake_server = FakeServer("vllm", lambda _: failure)
    model = fake_server.model()
    with pytest.raises(kind, match=message) as caught:
        await chunks_from(model, way, request_for())
    assert type(caught.value) is kind
    assert "http://server.test/v1" in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_server_is_retried(way: str, status: int) -> None:
    """A request that failed before any of its response is retried; its text comes once."""

    def answer(body: Any) -> Any:
        if len(fake_server.completions) < 3:
            return refusal(status, message="busy")
        return (
            Pieces([piece("Hello", "stop"), DONE])
            if body.get("stream")
            else fake_server.echo_query(body)
        )

    fake_server = FakeServer("vllm")
    fake_server.answer = answer
    chunks = await chunks_from(fake_server.model(max_retries=2), way, request_for())
    assert "".join(chunk.text for chunk in chunks) in ("Hello", "re: Hi")
    assert len(fake_server.completions) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "ftp://127.0.0.1:1"),
        ("NO_PROXY", "[::1]"),
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_FILE", "/etc/hostname"),
    ],
)
async def test_an_invalid_environment_is_an_error(
    way: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the variable, and what can be done instead."""
    _set_environment(monkeypatch, name, value)
    model = CompletionsServerModel("http://127.0.0.1:1/v1", "m", max_retries=0)
    with pytest.raises(ParameterError, match=rf"{name}, or pass http_client="):
        await chunks_from(model, way, request_for())


@pytest.mark.parametrize("way", WAYS)
async def test_a_proxy_that_is_used_is_named(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that fails may be the proxy's fault, unless the host is an exception."""
    _set_environment(monkeypatch, "http_proxy", "http://127.0.0.1:1")
    for exception, message in (("", "/v1 by the proxy of http_proxy: "), ("server.test", "/v1: ")):
        monkeypatch.setenv("NO_PROXY", exception)
        model = FakeServer("vllm", lambda _: httpx.ConnectError("refused")).model()
        with pytest.raises(ServerUnreachableError, match=message):
            await chunks_from(model, way, request_for())


def _set_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for present in set_variables():
        monkeypatch.delenv(present)
    monkeypatch.setenv(name, value)
    connection._default_tls.cache_clear()


CUT: dict[str, list[bytes | Exception]] = {
    "the stream just ends": [],
    "half an event": [b'data: {"choices": [{"tex'],
    "half an event, and its end": [b'data: {"choices": [{"tex\n\n'],
    "half a UTF-8 character": ["data: é".encode()[:-1] + b"\n\n"],
    "the connection breaks": [httpx.RemoteProtocolError("peer closed connection")],
    "the server stalls": [httpx.ReadTimeout("timed out")],
    "the network fails": [httpx.ReadError("reset")],
    "the server reports an error": [event({"error": {"message": "out of memory", "code": 500}})],
    "an event of another type": [event([1, 2])],
    "an error, as vLLM writes one": [event({"object": "error", "message": "no", "code": 500})],
    "an error, marked as the end": [event({"object": "error", "message": "no"}), DONE],
    "an error of another shape, marked as the end": [event({"error": "no"}), DONE],
    "an error by its type, marked as the end": [event({"type": "error", "message": "no"}), DONE],
    "a detail, marked as the end": [event({"detail": "no"}), DONE],
    "a filter": [piece("", "content_filter"), DONE],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", CUT)
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_cut_stream_is_an_error(kind: str, fault: str, way: str) -> None:
    """A stream without an end raises with the text so far; it is not retried."""
    pieces = Pieces([piece("Hello"), piece(" wor"), *CUT[fault]])
    fake_server = FakeServer(kind, lambda _: pieces)
    got = []
    model = fake_server.model(max_retries=5)
    with pytest.raises(GenerationError) as caught:
        await _collect(model, way, got)
    assert [chunk.text for chunk in got] == ["Hello", " wor"]
    assert caught.value.text == "Hello wor"
    assert len(fake_server.completions) == 1
    assert pieces.closed


async def _collect(model: Any, way: str, got: list[Any]) -> None:
    if way == "stream":
        for chunk in model.stream(request_for()):
            got.append(chunk)  # noqa: PERF402 - what came before the error counts
    else:
        async for chunk in model.astream(request_for()):
            got.append(chunk)  # noqa: PERF401


@pytest.mark.parametrize(
    "end",
    [
        [DONE],
        [piece("", "stop")],
        [piece("", "stop"), DONE],
        [piece("", "length")],
        [piece("", "stop").rstrip()],
        [DONE.rstrip()],
        [b"id: 7\n" + piece("", "stop")],
    ],
)
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_one_sign_of_the_end_is_enough(end: list[bytes], way: str) -> None:
    """A finish reason or the last event alone ends a stream, also if no blank line follows."""
    fake_server = FakeServer("generic", lambda _: Pieces([piece("Hello"), *end]))
    chunks = await chunks_from(fake_server.model(), way, request_for())
    assert "".join(chunk.text for chunk in chunks) == "Hello"
    assert chunks[-1].finish in ("stop", "length")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/event-stream"])
@pytest.mark.parametrize("indent", [None, 2])
async def test_a_whole_response_is_read_as_any(
    way: str, content_type: str, indent: int | None
) -> None:
    """A server may ignore that a stream was asked for, and the content type of JSON."""
    response = {"choices": [{"index": 0, "text": "Hello", "finish_reason": "length"}]}
    text, headers = json.dumps(response, indent=indent), {"content-type": content_type}
    model = FakeServer("generic", lambda _: httpx.Response(200, text=text, headers=headers)).model()
    [chunk] = await chunks_from(model, way, request_for())
    assert (chunk.text, chunk.finish) == ("Hello", "length")


@pytest.mark.parametrize("way", WAYS)
async def test_a_response_that_cannot_be_decompressed_is_no_lost_connection(way: str) -> None:
    """The SDK calls it one; the error says that the response is at fault."""
    broken = httpx.DecodingError("Error -3 while decompressing data")
    model = FakeServer("vllm", lambda _: broken).model()
    with pytest.raises(ServerError, match=r"cannot be parsed .*decompressing data") as caught:
        await chunks_from(model, way, request_for())
    assert not isinstance(caught.value, ServerUnreachableError)


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_closing_a_stream_early_closes_the_connection(way: str) -> None:
    """A consumer that has enough stops the server: no more events are read."""
    pieces = Pieces([*(piece(str(number)) for number in range(100)), piece("", "stop"), DONE])
    model = FakeServer("vllm", lambda _: pieces).model()
    if way == "stream":
        chunks = model.stream(request_for())
        assert next(chunks).text == "0"
        chunks.close()
    else:
        achunks = model.astream(request_for())
        assert (await anext(achunks)).text == "0"
        await achunks.aclose()
    assert pieces.closed
    assert pieces.sent < 5


async def test_cancelling_closes_the_connection() -> None:
    """Cancelling a task in the middle of its stream stops the server."""

    class Endless(Pieces):
        async def __aiter__(self) -> Any:
            yield piece("0")
            await asyncio.sleep(60)

    pieces = Endless([])
    model = FakeServer("vllm", lambda _: pieces).model()
    task = asyncio.create_task(chunks_from(model, "astream", request_for()))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pieces.closed


async def test_a_batch_raises_its_first_error() -> None:
    """The first error is raised, whichever request it ended."""

    def answer(body: Any) -> Any:
        bad = "bad" in fake_server.text_of(body["prompt"])
        return refusal(500, message="boom") if bad else fake_server.echo_query(body)

    fake_server = FakeServer("llama.cpp")
    fake_server.answer = answer
    model, requests = fake_server.model(), [request_for(text) for text in ("a", "bad", "c")]
    with pytest.raises(ServerError, match="boom"):
        model.complete(requests)
    with pytest.raises(ServerError, match="boom"):
        await model.acomplete(requests)


OVERFLOWS: dict[str, tuple[dict[str, Any], int, int]] = {
    "llama.cpp": (
        {
            "code": 400,
            "message": "request (6002 tokens) exceeds the available context size (2048 tokens), "
            "try increasing it",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 6002,
            "n_ctx": 2048,
        },
        2048,
        6002,
    ),
    "generic": (
        {
            "message": "This model's maximum context length is 4096 tokens, however you requested "
            "5010 tokens (5000 in your prompt; 10 for the completion).",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
        4096,
        5000,
    ),
}


@pytest.mark.parametrize("kind", OVERFLOWS)
@pytest.mark.parametrize("way", WAYS)
async def test_an_overflow_that_the_server_reports_is_typed(kind: str, way: str) -> None:
    """It is the same error as one found before sending, with the server's numbers."""
    error, window, tokens = OVERFLOWS[kind]
    model = FakeServer(kind, lambda _: refusal(400, **error)).model()
    with pytest.raises(
        ContextOverflowError, match=f"{tokens} tokens.*window is {window}"
    ) as caught:
        await chunks_from(model, way, request_for(max_tokens=10))
    found = caught.value
    assert (found.window, found.prompt_tokens, found.max_tokens) == (window, tokens, 10)


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_an_overflow_is_a_langchain_error_too(way: str) -> None:
    """LangChain's own class for it is a base, also where the server reports it."""
    error, _, _ = OVERFLOWS["generic"]
    fake_server = FakeServer("generic", lambda _: refusal(400, **error))
    chat = ChatUrial(llm=fake_server.model(), prompt=PROMPT)
    ways: dict[str, Any] = {
        "invoke": lambda: asyncio.to_thread(chat.invoke, "Hi"),
        "stream": lambda: asyncio.to_thread(lambda: list(chat.stream("Hi"))),
        "ainvoke": lambda: chat.ainvoke("Hi"),
        "astream": lambda: _all(chat.astream("Hi")),
    }
    with pytest.raises(LangChainOverflowError):
        await ways[way]()


async def _all(source: Any) -> list[Any]:
    return [item async for item in source]


def test_an_overflow_is_found_before_anything_is_sent() -> None:
    """Where the server reports window and tokens, a prompt that is too long is never sent."""
    fake_server = FakeServer("vllm")
    chat = ChatUrial(llm=fake_server.model(), prompt=PROMPT)
    with pytest.raises(LangChainOverflowError, match="user message 1"):
        chat.invoke("word " * 5000)
    assert fake_server.completions == []


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
def test_a_refused_schema_is_an_error(kind: str) -> None:
    """The error has the server's message about the schema."""
    model = FakeServer(kind, lambda _: refusal(400, message="unsupported: foo")).model()
    request = request_for(constraint=JsonSchema.of({"type": "foo"}))
    with pytest.raises(UnsupportedSchemaError, match="unsupported: foo"):
        model.complete([request])


@pytest.mark.parametrize("way", WAYS)
async def test_a_response_of_html_is_an_error(way: str) -> None:
    """A server of another kind is not a model."""
    html = httpx.Response(200, text="<html>Welcome</html>", headers={"content-type": "text/html"})
    model = FakeServer("generic", lambda _: html).model()
    with pytest.raises(GenerationError):
        await chunks_from(model, way, request_for())


@pytest.mark.parametrize("way", WAYS)
async def test_a_lone_surrogate_is_replaced(way: str) -> None:
    """Half a character cannot be sent: the replacement character is."""
    server = FakeServer("generic")
    if "stream" in way:
        server.answer = lambda _: Pieces([piece("Hello", "stop"), DONE])
    await chunks_from(server.model(), way, request_for("Hi \ud83d"))
    assert "Hi \ufffd" in server.completions[0]["prompt"]


async def test_invalid_json_is_an_error() -> None:
    """A response that ends in the middle of its JSON is a server error."""
    broken = httpx.Response(200, text='{"choi', headers={"content-type": "application/json"})
    model = FakeServer("generic", lambda _: broken).model()
    for way in ("complete", "acomplete"):
        with pytest.raises(ServerError, match="cannot be parsed"):
            await chunks_from(model, way, request_for())


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_chat_keeps_the_text_of_a_cut_stream(way: str) -> None:
    """The error's text is the reply's, trimmed as it was emitted."""
    fake_server = FakeServer("vllm", lambda _: Pieces([piece("  Hello"), piece(" wor")]))
    chat = ChatUrial(llm=fake_server.model(), prompt=PROMPT)
    got = []
    with pytest.raises(GenerationError) as caught:
        await _collect_texts(chat, way, got)
    assert "".join(got) == caught.value.text == "Hello wor"


async def _collect_texts(chat: Any, way: str, got: list[str]) -> None:
    if way == "stream":
        for chunk in chat.stream("Hi"):
            got.append(chunk.text)  # noqa: PERF401 - what came before the error counts
    else:
        async for chunk in chat.astream("Hi"):
            got.append(chunk.text)  # noqa: PERF401
