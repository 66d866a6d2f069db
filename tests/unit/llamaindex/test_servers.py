"""Around LlamaIndex's classes for servers: what a server is really sent, and what comes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from fake_llms import END, JUNK, PIECES, PROMPT, WAYS, ask
from stub_server import StubServer, serving

from llamaindex_urial import UrialLLM
from urial_core import UnsupportedModelError

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(60)]

TEXT = f"Hello!{END}{JUNK}"


def openai(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer as the completions API does."""
    shell = {"id": "1", "object": "text_completion", "created": 1, "model": "m"}
    if body.get("stream"):
        return (
            f"data: {json.dumps({**shell, 'choices': [{'index': 0, 'text': piece}]})}\n\n".encode()
            for piece in PIECES
        )
    usage = {"prompt_tokens": 50, "completion_tokens": 7, "total_tokens": 57}
    choice = {"index": 0, "text": TEXT, "finish_reason": "length"}
    return json.dumps({**shell, "choices": [choice], "usage": usage}).encode()


def ollama(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer as ``/api/generate`` does."""
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 50, "eval_count": 7}
    if not body["stream"]:
        return json.dumps({"model": "m", "response": TEXT, **end}).encode()
    pieces = [{"response": piece, "done": False} for piece in PIECES]
    return (
        json.dumps({"model": "m", **item}).encode() + b"\n"
        for item in [*pieces, {"response": "", **end}]
    )


def llamafile(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer as llama.cpp's own ``/completion`` does."""
    if not body["stream"]:
        return json.dumps({"content": TEXT, "stop": True}).encode()
    return (f"data: {json.dumps({'content': piece})}\n".encode() for piece in PIECES)


def vllm(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer as vLLM's first ``/generate`` does: the prompt comes back before the text."""
    prompt, stream = body["prompt"], body["stream"]
    if not stream:
        return json.dumps({"text": [prompt + TEXT]}).encode()
    texts = ("".join(PIECES[: end + 1]) for end in range(len(PIECES)))
    return (json.dumps({"text": [prompt + text]}).encode() + b"\0" for text in texts)


def openai_llm(url: str, **fields: Any) -> Any:
    """LlamaIndex's LLM for a server like OpenAI's."""
    llms = pytest.importorskip("llama_index.llms.openai_like")
    return llms.OpenAILike(model="m", api_base=f"{url}/v1", api_key="sk-secret", **fields)


def ollama_llm(url: str, **fields: Any) -> Any:
    """LlamaIndex's LLM for Ollama."""
    llms = pytest.importorskip("llama_index.llms.ollama")
    return llms.Ollama(model="m", base_url=url, **{"context_window": 4096, **fields})


def llamafile_llm(url: str, **fields: Any) -> Any:
    """LlamaIndex's LLM for a llamafile."""
    llms = pytest.importorskip("llama_index.llms.llamafile")
    return llms.Llamafile(base_url=url, **fields)


def vllm_llm(url: str, **fields: Any) -> Any:
    """LlamaIndex's LLM for vLLM's own server."""
    llms = pytest.importorskip("llama_index.llms.vllm")
    return llms.VllmServer(api_url=f"{url}/generate", model="m", **fields)


KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "OpenAILike": (openai_llm, openai),
    "Ollama": (ollama_llm, ollama),
    "Llamafile": (llamafile_llm, llamafile),
    "VllmServer": (vllm_llm, vllm),
}
EXPECTED = {
    "OpenAILike": ("max_tokens", "top_p", "stop"),
    "Ollama": ("num_predict", "top_p", "stop"),
    "Llamafile": ("n_predict", "top_p", "stop"),
    "VllmServer": ("max_tokens", "top_p", "stop"),
}


@pytest.fixture
def server(kind: str) -> Generator[StubServer]:
    """A server of the kind that the test is about."""
    with serving(KINDS[kind][1]) as server:
        yield server


def urial_of(kind: str, server: StubServer, **fields: Any) -> UrialLLM:
    """An LLM around LlamaIndex's class for that server."""
    return UrialLLM(llm=KINDS[kind][0](server.url, **fields), prompt=PROMPT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
async def test_the_reply_is_clean_and_the_server_gets_the_page(
    kind: str, way: str, server: StubServer
) -> None:
    """In every way, the prompt arrives with parameters and stop strings under the right names."""
    urial = urial_of(kind, server)
    assert await ask(way, urial, max_tokens=9, top_p=0.8, stop=["STOP"]) == "Hello!"
    [body] = server.bodies
    assert body["prompt"].startswith(PROMPT.prefix)
    assert body["prompt"].endswith("# Answer:\n````\n")
    limit, top_p, stop = EXPECTED[kind]
    settings = body.get("options", body)
    assert settings[limit] == 9
    assert settings[top_p] == 0.8
    assert settings[stop][0] == "\n````"
    assert "STOP" in settings[stop]
    assert "messages" not in body


@pytest.mark.parametrize("kind", ["Ollama"])
def test_ollama_is_asked_without_its_template(kind: str, server: StubServer) -> None:
    """``raw`` leaves the Modelfile's template out, and the full window is requested."""
    urial = urial_of(kind, server, additional_kwargs={"mirostat": 1, "stop": ["OWN"]})
    response = urial.complete("Hi")
    [body] = server.bodies
    assert server.paths == ["/api/generate"]
    assert body["raw"] is True
    assert body["options"]["num_ctx"] == 4096
    assert body["options"]["mirostat"] == 1
    assert response.raw["usage"]["prompt_tokens"] == 50


@pytest.mark.parametrize("kind", ["Ollama"])
@pytest.mark.parametrize("way", ["acomplete", "astream"])
async def test_ollama_is_not_asked_for_its_window_in_an_event_loop(
    kind: str, way: str, server: StubServer
) -> None:
    """LlamaIndex's class asks by a call that blocks: another thread makes it."""

    def answer(body: dict[str, Any]) -> bytes | Iterator[bytes]:
        return ollama(body) if "prompt" in body else shown

    shown = json.dumps({"model_info": {"m.context_length": 512}}).encode()
    server.answer = answer
    urial = urial_of(kind, server, context_window=-1)
    urial.context_window = 4096  # so that the wrapped LLM's is not asked for before
    show = urial.llm.client.show
    threads = list[threading.Thread]()

    def noted(model: str) -> Any:
        threads.append(threading.current_thread())
        return show(model)

    urial.llm.client.show = noted
    assert await ask(way, urial) == "Hello!"
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert server.bodies[-1]["options"]["num_ctx"] == 512


@pytest.mark.parametrize("kind", ["OpenAILike"])
def test_what_the_owner_set_on_openai_like_is_kept(kind: str, server: StubServer) -> None:
    """Its limit, temperature, stop strings and further fields are kept."""
    urial = urial_of(
        kind,
        server,
        max_tokens=17,
        temperature=0.3,
        additional_kwargs={"stop": ["OWN"], "logit_bias": {"1": -100}},
    )
    response = urial.complete("Hi")
    [body] = server.bodies
    assert (body["max_tokens"], body["temperature"]) == (17, 0.3)
    assert body["logit_bias"] == {"1": -100}
    assert body["stop"] == ["\n````", "\n# Query:\n", "OWN"]
    assert response.raw["usage"]["completion_tokens"] == 7
    assert server.headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(urial) + str(urial.to_dict()) + str(urial.urial.model.cache_key)


@pytest.mark.parametrize("kind", ["OpenAILike"])
def test_a_chat_endpoint_is_refused(kind: str, server: StubServer) -> None:
    """A class that applies a chat template is refused, with advice."""
    with pytest.raises(UnsupportedModelError, match=r"pass OpenAILike\(is_chat_model=False\)"):
        urial_of(kind, server, is_chat_model=True)
    with pytest.raises(UnsupportedModelError, match="VllmServer is a chat model"):
        UrialLLM(llm=vllm_llm(server.url, openai_like=True), prompt=PROMPT)


@pytest.mark.parametrize("kind", ["Ollama"])
def test_ollama_holds_typed_answers_to_their_schema(kind: str, server: StubServer) -> None:
    """The schema is sent to the server as ``format``; the answer is validated anyway."""
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "object", "properties": {"a": digit}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    server.answer = lambda _: json.dumps({"response": '{"a": 1}', "done": True}).encode()
    response = urial_of(kind, server).complete("Hi", response_format=form)
    assert response.text == '{"a": 1}'
    assert server.bodies[0]["format"] == {**schema, "additionalProperties": False}


@pytest.mark.parametrize("kind", ["Llamafile"])
@pytest.mark.parametrize("way", ["complete", "stream"])
def test_llamafile_tells_its_end_and_its_tokens(kind: str, way: str, server: StubServer) -> None:
    """llama.cpp's API has other names for the reason and the counts, in the last event."""
    end = {"content": "Hello!", "stop": True, "stop_type": "limit"}
    end |= {"tokens_evaluated": 50, "tokens_predicted": 7, "timings": {"cache_n": 40}}
    whole = json.dumps(end)
    server.answer = lambda body: [f"data: {whole}\n".encode()] if body["stream"] else whole.encode()
    urial = urial_of(kind, server)
    response = urial.complete("Hi") if way == "complete" else [*urial.stream_complete("Hi")][-1]
    assert response.raw["finish_reason"] == "length"
    usage = response.raw["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (50, 7)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 40


@pytest.mark.parametrize("kind", ["Llamafile"])
def test_llamafile_holds_typed_answers_to_their_schema(kind: str, server: StubServer) -> None:
    """The schema is sent to the server as it is."""
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "object", "properties": {"a": digit}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    server.answer = lambda _: json.dumps({"content": '{"a": 1}', "stop": True}).encode()
    assert urial_of(kind, server).complete("Hi", response_format=form).text == '{"a": 1}'
    assert server.bodies[0]["json_schema"] == {**schema, "additionalProperties": False}
