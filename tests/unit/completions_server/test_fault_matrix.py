"""The fault matrix: a server dies, stalls or lies at each stage, however it is asked.

Each cell is a typed error, with the text so far where there is some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fake_server import DONE, PROMPT, FakeServer, Pieces, event, piece
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core.errors import GenerationError, ServerUnreachableError, UrialError

pytestmark = pytest.mark.no_cover  # many inputs to lines that other tests run too

HTML = httpx.Response(200, text="<html>", headers={"content-type": "text/html"})


class Legs(BaseModel):
    """How many legs an animal has."""

    legs: int


TOOL = {"type": "function", "function": {"name": "Legs", "parameters": Legs.model_json_schema()}}
MESSAGES = [ChatMessage(content="Spiders?")]
PREDICTED = PromptTemplate("Spiders?")


async def _collect(source: Any) -> None:
    async for _ in source:
        pass


async def _collect_later(source: Any) -> None:
    await _collect(await source)


def _in_thread(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a blocking way to ask as one to await."""
    return lambda chat: asyncio.to_thread(ask, chat)


def _all(source: Any) -> None:
    for _ in source:
        pass


LANGCHAIN: dict[str, Callable[[Any], Any]] = {
    "invoke": _in_thread(lambda chat: chat.invoke("Spiders?")),
    "ainvoke": lambda chat: chat.ainvoke("Spiders?"),
    "stream": _in_thread(lambda chat: _all(chat.stream("Spiders?"))),
    "astream": lambda chat: _collect(chat.astream("Spiders?")),
    "batch": _in_thread(lambda chat: chat.batch(["Spiders?", "Ants?"])),
    "abatch": lambda chat: chat.abatch(["Spiders?", "Ants?"]),
    "tools": _in_thread(lambda chat: chat.bind_tools([Legs]).invoke("Spiders?")),
    "astream tools": lambda chat: _collect(chat.bind_tools([Legs]).astream("Spiders?")),
    "typed": _in_thread(lambda chat: chat.with_structured_output(Legs).invoke("Spiders?")),
    "atyped": lambda chat: chat.with_structured_output(Legs).ainvoke("Spiders?"),
}
LLAMA_INDEX: dict[str, Callable[[Any], Any]] = {
    "chat": _in_thread(lambda llm: llm.chat(MESSAGES)),
    "achat": lambda llm: llm.achat(MESSAGES),
    "stream_chat": _in_thread(lambda llm: _all(llm.stream_chat(MESSAGES))),
    "astream_chat": lambda llm: _collect_later(llm.astream_chat(MESSAGES)),
    "complete": _in_thread(lambda llm: llm.complete("Spiders?")),
    "tools": _in_thread(lambda llm: llm.chat(MESSAGES, tools=[TOOL])),
    "astream tools": lambda llm: _collect_later(llm.astream_chat(MESSAGES, tools=[TOOL])),
    "typed": _in_thread(lambda llm: llm.structured_predict(Legs, PREDICTED)),
    "atyped": lambda llm: llm.astructured_predict(Legs, PREDICTED),
}
WAYS = [
    *((ChatUrial, name) for name in LANGCHAIN),
    *((UrialLLM, name) for name in LLAMA_INDEX),
]
BEFORE: dict[str, Any] = {
    "dies": httpx.ConnectError("refused"),
    "dies in its answer": httpx.RemoteProtocolError("peer closed connection"),
    "stalls": httpx.ReadTimeout("timed out"),
    "is another server": HTML,
    "lies about types": {"choices": 5, "data": 5, "tokens": 5},
    "sends too few": {"choices": []},
    "fails": httpx.Response(500, json={"error": {"message": ["no"], "code": {}}}),
}
WITHIN: dict[str, list[bytes | Exception]] = {
    "dies": [httpx.ReadError("reset")],
    "stalls": [httpx.ReadTimeout("timed out")],
    "ends too soon": [],
    "lies about types": [event({"choices": [{"text": 5}]})],
    "sends half an event": [b'data: {"choices": [{"tex'],
    "sends deep JSON": [b"data: " + b"[" * 100_000 + b"\n\n"],
    "reports an error": [event({"error": {"message": "out of memory"}}), DONE],
}


async def ask(server: FakeServer, make: type[Any], way: str) -> None:
    """Ask a new chat model or LLM of the server."""
    model = server.model(model="base")
    chat = make(llm=model, prompt=PROMPT, max_tokens=32)
    async with asyncio.timeout(20):
        await (LANGCHAIN if make is ChatUrial else LLAMA_INDEX)[way](chat)


@pytest.mark.parametrize("fault", BEFORE)
@pytest.mark.parametrize(("make", "way"), WAYS)
async def test_a_fault_before_any_text(make: type[Any], way: str, fault: str) -> None:
    """A server that fails in place of its answer is a typed error."""
    for kind in ("vllm", "generic"):
        server = FakeServer(kind, lambda _: BEFORE[fault])
        with pytest.raises(UrialError) as caught:
            await ask(server, make, way)
        if fault in ("dies", "stalls"):
            assert isinstance(caught.value, ServerUnreachableError)


@pytest.mark.parametrize("fault", ["dies", "stalls", "fails"])
@pytest.mark.parametrize("path", ["/v1/models", "/tokenize"])
@pytest.mark.parametrize(("make", "way"), WAYS)
async def test_a_fault_in_detection(make: type[Any], way: str, path: str, fault: str) -> None:
    """A server that fails when it is asked about itself is a typed error."""
    server = FakeServer("vllm")
    server.overrides[path] = BEFORE[fault]
    with pytest.raises(UrialError):
        await ask(server, make, way)


@pytest.mark.parametrize("fault", WITHIN)
@pytest.mark.parametrize(
    ("make", "way"), [(make, way) for make, way in WAYS if "stream" in way and "tools" not in way]
)
async def test_a_fault_within_a_stream(make: type[Any], way: str, fault: str) -> None:
    """A server that fails in the middle of its answer is a typed error with the text so far."""
    server = FakeServer("vllm", lambda _: Pieces([piece("Eight"), piece(" legs"), *WITHIN[fault]]))
    with pytest.raises(GenerationError) as caught:
        await ask(server, make, way)
    assert caught.value.text == "Eight legs"


SECRET = "sk-very-secret-key"


@pytest.mark.parametrize("way", ["invoke", "astream"])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"error": {"message": f"Incorrect API key: {SECRET}"}}),
        httpx.Response(400, json={"error": {"message": f"odd header {SECRET}", "code": SECRET}}),
        httpx.Response(500, text=f"Traceback: {SECRET}"),
        httpx.Response(200, text=f"<html>{SECRET}", headers={"content-type": "application/json"}),
        httpx.ConnectError(f"proxy refused Bearer {SECRET}"),
        httpx.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'"),
    ],
)
async def test_no_error_shows_a_key_or_a_login(way: str, answer: Any) -> None:
    """Neither do the errors that it was raised from, nor the model's other texts."""
    server = FakeServer("generic", lambda _: answer)
    model = server.model(
        model="base", base_url="http://me:pass-word@server.test/v1", api_key=f"{SECRET}\n"
    )
    chat = ChatUrial(llm=model, prompt=PROMPT)
    with pytest.raises(UrialError) as caught:
        await LANGCHAIN[way](chat)
    texts = [repr(chat), repr(model), str(model.cache_key), repr(chat.to_json())]
    part: BaseException | None = caught.value
    while part is not None:
        texts += [str(part), repr(part), repr(part.args)]
        part = part.__cause__ or part.__context__
    shown = "\n".join(texts)
    assert SECRET not in shown
    assert "pass-word" not in shown
    assert server.received[-1].headers["authorization"] == "Basic bWU6cGFzcy13b3Jk"


@pytest.mark.parametrize(
    "base_url",
    ["", "host", "ftp://host/v1", "http://", "http://[::1/v1", "http://h:99999/v1", "http://a b"],
)
def test_a_malformed_url_is_an_error(base_url: str) -> None:
    """It is found when the model is made, and the message shows it."""
    with pytest.raises(UrialError, match="base_url is"):
        FakeServer("generic").model(base_url=base_url)


def test_a_key_that_no_header_can_hold_is_an_error() -> None:
    """The message does not show it."""
    with pytest.raises(UrialError) as caught:
        FakeServer("generic").model(api_key="sk-a\nb-secret")
    assert "secret" not in str(caught.value)
