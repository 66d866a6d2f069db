"""Around ``langchain_openai.OpenAI``: what a server with the completions API is really sent."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from fake_models import END, JUNK, PROMPT, query_of
from stub_server import StubServer, serving

from langchain_urial import ChatUrial

OpenAI = pytest.importorskip("langchain_openai").OpenAI

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(60)]

PIECES = ["Hel", "lo!", END, *[JUNK] * 400]


def completions(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer as the completions API does."""
    if body.get("stream"):
        return _events()
    prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
    texts = [f"re: {query_of(prompt)}{END}{JUNK}" for prompt in prompts]
    return json.dumps(
        {
            "id": "1",
            "object": "text_completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {"index": index, "text": text, "finish_reason": "length", "logprobs": None}
                for index, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57},
        }
    ).encode()


def _events() -> Iterator[bytes]:
    for piece in PIECES:
        choice = {"index": 0, "text": piece, "finish_reason": None, "logprobs": None}
        chunk = {"id": "1", "object": "text_completion", "created": 1, "model": "m"}
        yield f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode()
        time.sleep(0.005)
    yield b"data: [DONE]\n\n"


@pytest.fixture
def server() -> Generator[StubServer]:
    """A server that knows the completions API."""
    with serving(completions) as server:
        yield server


def openai(server: StubServer, **fields: Any) -> Any:
    """LangChain's LLM for that server."""
    return OpenAI(base_url=f"{server.url}/v1", api_key="sk-secret", model="base-1", **fields)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_parameters_reach_the_server(server: StubServer, way: str) -> None:
    """The body holds each parameter under the API's name, and at most four stop strings."""
    chat = ChatUrial(
        llm=openai(server), prompt=PROMPT, temperature=0.5, seed=3, stop=["A", "B", "C"]
    )
    kwargs: dict[str, Any] = {"max_tokens": 9, "top_p": 0.9, "frequency_penalty": 0.1}
    if way == "sync":
        message = chat.invoke("Hi", presence_penalty=0.2, **kwargs)
    else:
        message = await chat.ainvoke("Hi", presence_penalty=0.2, **kwargs)
    assert message.content == "re: Hi"
    [body] = server.bodies
    expected = {
        "model": "base-1",
        "temperature": 0.5,
        "seed": 3,
        "max_tokens": 9,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "stop": ["\n````", "\n# Query:\n", "A", "B"],
    }
    assert {name: body.get(name) for name in expected} == expected
    assert server.paths == ["/v1/completions"]
    assert body.get("n", 1) == 1


def test_what_the_user_set_on_the_llm_is_kept(server: StubServer) -> None:
    """The user's own settings and bound arguments stay; this project's limit replaces none."""
    chat = ChatUrial(llm=openai(server, max_tokens=17, temperature=0.3, top_p=0.8), prompt=PROMPT)
    chat.invoke("Hi")
    assert [server.bodies[0][name] for name in ("max_tokens", "temperature", "top_p")] == [
        17,
        0.3,
        0.8,
    ]
    ChatUrial(llm=openai(server), prompt=PROMPT).invoke("Hi")
    assert server.bodies[1]["max_tokens"] == 1024
    ChatUrial(llm=openai(server, max_tokens=-1), prompt=PROMPT).invoke("Hi")
    assert server.bodies[2]["max_tokens"] == 1024
    bound = openai(server).bind(stop=["OWN"], logit_bias={"50256": -100}, max_tokens=5)
    chat = ChatUrial(llm=bound, prompt=PROMPT)
    chat.invoke("Hi")
    body = server.bodies[3]
    assert body["stop"] == ["\n````", "\n# Query:\n", "OWN"]
    assert (body["logit_bias"], body["max_tokens"]) == ({"50256": -100}, 5)
    chat.invoke("Hi", user="ann")
    assert server.bodies[4]["user"] == "ann"


def test_settings_that_would_break_a_call_are_taken_back(server: StubServer) -> None:
    """Several choices, best-of and inner streaming make no sense here, and do no harm."""
    for llm in (openai(server, n=2, best_of=3), openai(server, streaming=True)):
        chat = ChatUrial(llm=llm, prompt=PROMPT)
        assert [message.content for message in chat.batch(["a", "b"])] == ["re: a", "re: b"]
        body = server.bodies[-1]
        assert (body.get("n", 1), body.get("best_of", 1)) == (1, 1)
        assert body.get("stream", False) is False
        assert (llm.n, llm.best_of, llm.streaming) in ((2, 3, False), (1, 1, True))
    assert len(server.bodies) == 4


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_a_batch_is_a_request_for_each_input(server: StubServer, way: str) -> None:
    """Each input has its own request, and so its own usage."""
    chat = ChatUrial(llm=openai(server), prompt=PROMPT)
    replies = chat.batch([*"abc"]) if way == "batch" else await chat.abatch([*"abc"])
    assert [reply.content for reply in replies] == ["re: a", "re: b", "re: c"]
    prompts = [body["prompt"] for body in server.bodies]
    assert sorted(query_of(prompt) for [prompt] in prompts) == ["a", "b", "c"]
    assert all(reply.usage_metadata for reply in replies)


def test_several_replies_with_a_seed_are_several_requests(server: StubServer) -> None:
    """``n`` replies have seeds of their own; without a seed they are one request."""
    chat = ChatUrial(llm=openai(server), prompt=PROMPT, n=2)
    chat.invoke("Hi", seed=5)
    assert [body["seed"] for body in server.bodies] == [5, 6]
    chat.invoke("Hi")
    assert len(server.bodies) == 3


async def test_usage_and_reason_are_the_servers(server: StubServer) -> None:
    """One prompt's usage is reported; a reply that was cut here ended by its delimiter."""
    chat = ChatUrial(llm=openai(server), prompt=PROMPT)
    for message in (chat.invoke("Hi"), await chat.ainvoke("Hi")):
        assert message.usage_metadata is not None
        assert message.usage_metadata["input_tokens"] == 50
        assert message.usage_metadata["output_tokens"] == 7
        assert message.response_metadata["end_reason"] == "delimiter"
        assert message.response_metadata["model_name"] == "base-1"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_stream_is_trimmed_and_closed_early(server: StubServer, way: str) -> None:
    """Chunks end with the reply, and the connection soon after.

    LangChain's class holds the connection in a reference cycle, so that it is closed when Python
    next collects garbage, and not by closing the stream.
    """
    chat = ChatUrial(llm=openai(server), prompt=PROMPT)
    if way == "stream":
        texts = [chunk.text for chunk in chat.stream("Hi")]
    else:
        texts = [chunk.text async for chunk in chat.astream("Hi")]
    assert texts == ["Hel", "lo!", ""]
    assert server.bodies[0]["stream"] is True
    gc.collect()
    assert await asyncio.to_thread(server.left_soon)
    assert server.sent < len(PIECES)


def test_another_model_of_the_server_can_be_named(server: StubServer) -> None:
    """``model=`` of a call reaches the server and the metadata."""
    chat = ChatUrial(llm=openai(server), prompt=PROMPT)
    assert chat.model_name == "base-1"
    message = chat.invoke("Hi", model="base-2")
    assert server.bodies[0]["model"] == "base-2"
    assert message.response_metadata["model_name"] == "base-2"
    list(chat.stream("Hi", model="base-3"))
    assert server.bodies[1]["model"] == "base-3"


def test_the_llms_key_is_shown_nowhere(server: StubServer) -> None:
    """The wrapped LLM's key is sent to its server, and is in no text form of the chat model."""
    chat = ChatUrial(llm=openai(server), prompt=PROMPT)
    chat.invoke("Hi")
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    shown = (
        repr(chat),
        str(chat),
        repr(chat.asdict()),
        chat._get_llm_string(),
        repr(chat.metadata),
    )
    assert [text for text in shown if "sk-secret" in text] == []
