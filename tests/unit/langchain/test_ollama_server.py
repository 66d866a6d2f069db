"""Around ``langchain_ollama.OllamaLLM``: what an Ollama server is really sent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from fake_models import END, JUNK, PROMPT
from stub_server import StubServer, serving

from langchain_urial import ChatUrial

OllamaLLM = pytest.importorskip("langchain_ollama").OllamaLLM

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(60)]


def generate(body: dict[str, Any]) -> Iterator[bytes]:
    """Answer as ``/api/generate`` does: it honours the stop strings, or it writes on."""
    runs_on = "run on" in body["prompt"]
    for piece in ["Hel", "lo!", *([END, *[JUNK] * 400] if runs_on else [])]:
        yield (
            json.dumps({"model": body["model"], "response": piece, "done": False}).encode() + b"\n"
        )
        time.sleep(0.005 if runs_on else 0)
    end = {"done": True, "done_reason": "length", "prompt_eval_count": 50, "eval_count": 7}
    yield json.dumps({"model": body["model"], "response": "", **end}).encode() + b"\n"


@pytest.fixture
def server() -> Generator[StubServer]:
    """A server that knows ``/api/generate``."""
    with serving(generate) as server:
        yield server


def ollama(server: StubServer, **fields: Any) -> Any:
    """LangChain's LLM for that server."""
    return OllamaLLM(base_url=server.url, model="base-1", **fields)


async def ask(way: str, chat: ChatUrial, question: str = "Hi", **kwargs: Any) -> str:
    """The reply's text, asked for in one of four ways."""
    match way:
        case "invoke":
            return str(chat.invoke(question, **kwargs).text)
        case "ainvoke":
            return str((await chat.ainvoke(question, **kwargs)).text)
        case "stream":
            return "".join(chunk.text for chunk in chat.stream(question, **kwargs))
        case _:
            return "".join([chunk.text async for chunk in chat.astream(question, **kwargs)])


WAYS = ["invoke", "ainvoke", "stream", "astream"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_page_is_sent_raw_with_all_options(server: StubServer, way: str) -> None:
    """The model's chat template is not applied, and each parameter is an option."""
    chat = ChatUrial(llm=ollama(server), prompt=PROMPT, temperature=0.5, seed=3, stop=["END"])
    kwargs = {"max_tokens": 9, "top_p": 0.9, "top_k": 5, "repetition_penalty": 1.2}
    assert await ask(way, chat, **kwargs) == "Hello!"
    [body] = server.bodies
    assert body["raw"] is True
    assert body["prompt"].startswith(PROMPT.prefix)
    expected = {
        "temperature": 0.5,
        "seed": 3,
        "num_predict": 9,
        "top_p": 0.9,
        "top_k": 5,
        "repeat_penalty": 1.2,
        "stop": ["\n````", "\n# Query:\n", "END"],
    }
    assert {name: body["options"].get(name) for name in expected} == expected


def test_the_window_is_made_to_fit(server: StubServer) -> None:
    """Ollama silently truncates longer prompts, so the window is always large enough."""
    chat = ChatUrial(llm=ollama(server), prompt=PROMPT)
    chat.invoke("Hi", max_tokens=100)
    chat.invoke("word " * 3000, max_tokens=2000)
    small, large = (body["options"]["num_ctx"] for body in server.bodies)
    assert small == 1024
    assert large >= len("word " * 3000) / 3 + 2000
    assert large % 1024 == 0
    ChatUrial(llm=ollama(server, num_ctx=32768), prompt=PROMPT).invoke("Hi")
    assert server.bodies[2]["options"]["num_ctx"] == 32768


def test_what_the_user_set_on_the_llm_is_kept(server: StubServer) -> None:
    """The user's own limit, stop strings and options stay, and the object is not touched."""
    llm = ollama(server, num_predict=17, stop=["OWN"], mirostat=2, temperature=0.3)
    ChatUrial(llm=llm, prompt=PROMPT).invoke("Hi")
    options = server.bodies[0]["options"]
    assert (options["num_predict"], options["mirostat"], options["temperature"]) == (17, 2, 0.3)
    assert options["stop"] == ["\n````", "\n# Query:\n", "OWN"]
    assert (llm.num_predict, llm.stop, llm.num_ctx) == (17, ["OWN"], None)
    ChatUrial(llm=ollama(server, num_predict=-1), prompt=PROMPT).invoke("Hi")
    assert server.bodies[1]["options"]["num_predict"] == 1024


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream"])
async def test_usage_and_reason_are_the_servers(server: StubServer, way: str) -> None:
    """Ollama's counts are the usage, and its reason the reply's, streamed or not."""
    chat = ChatUrial(llm=ollama(server), prompt=PROMPT)
    if way == "stream":
        message: Any = list(chat.stream("Hi"))[-1]
    else:
        message = chat.invoke("Hi") if way == "invoke" else await chat.ainvoke("Hi")
    assert message.usage_metadata["input_tokens"] == 50
    assert message.usage_metadata["output_tokens"] == 7
    assert message.response_metadata["finish_reason"] == "length"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_stream_is_trimmed_and_closed_early(server: StubServer, way: str) -> None:
    """A model that runs on is cut at the end of its reply, and its connection closed."""
    assert await ask(way, ChatUrial(llm=ollama(server), prompt=PROMPT), "run on") == "Hello!"
    assert await asyncio.to_thread(server.left_soon)
    assert server.sent < 400


@pytest.mark.parametrize("way", WAYS)
async def test_another_model_of_the_server_can_be_named(server: StubServer, way: str) -> None:
    """``model=`` of a call reaches the server."""
    chat = ChatUrial(llm=ollama(server), prompt=PROMPT)
    await ask(way, chat, model="base-2")
    await ask(way, chat)
    assert [body["model"] for body in server.bodies] == ["base-2", "base-1"]


def test_the_name_is_that_of_the_servers_model(server: StubServer) -> None:
    """Metadata name the model, and two models of one server are two for a cache."""
    first = ChatUrial(llm=ollama(server), prompt=PROMPT)
    second = ChatUrial(llm=OllamaLLM(base_url=server.url, model="base-2"), prompt=PROMPT)
    assert (first.model_name, second.model_name) == ("base-1", "base-2")
    assert first._get_llm_string() != second._get_llm_string()


async def test_a_batch_is_answered_in_order(server: StubServer) -> None:
    """Ollama has no batches: the inputs are requests of their own, in order."""
    chat = ChatUrial(llm=ollama(server), prompt=PROMPT)
    assert [reply.content for reply in chat.batch([*"abc"])] == ["Hello!"] * 3
    assert [reply.content for reply in await chat.abatch([*"abc"])] == ["Hello!"] * 3
    assert len(server.bodies) == 6
    assert [reply.usage_metadata is not None for reply in chat.batch([*"ab"])] == [True] * 2


@pytest.mark.parametrize("way", WAYS)
async def test_typed_answers_are_constrained_to_their_schema(server: StubServer, way: str) -> None:
    """The schema is sent to the server as ``format``; the answer is validated anyway."""
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "object", "properties": {"a": digit}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}
    server.answer = lambda _: [
        json.dumps({"model": "m", "response": '{"a": 1}', "done": False}).encode() + b"\n",
        json.dumps({"model": "m", "response": "", "done": True}).encode() + b"\n",
    ]
    chat = ChatUrial(llm=ollama(server), prompt=PROMPT)
    assert await ask(way, chat, response_format=form) == '{"a": 1}'
    assert server.bodies[0]["format"] == {**schema, "additionalProperties": False}
