"""Around ``HuggingFaceEndpoint``: what a text-generation-inference server is really sent."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest
from fake_models import END, JUNK, PROMPT
from stub_server import StubServer, serving

from langchain_urial import ChatUrial

HuggingFaceEndpoint = pytest.importorskip("langchain_huggingface").HuggingFaceEndpoint

pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(60)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[StubServer]:
    """A server that answers at its root path, where Hugging Face's client sends to."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # loopback included
    text = json.dumps([{"generated_text": f"Hello!{END}{JUNK}"}]).encode()
    with serving(lambda _: text) as server:
        yield server


def sent(server: StubServer, **kwargs: Any) -> dict[str, Any]:
    """The parameters that a call sends."""
    chat = ChatUrial(llm=HuggingFaceEndpoint(endpoint_url=server.url), prompt=PROMPT)
    assert chat.invoke("Hi", **kwargs).text
    parameters: dict[str, Any] = server.bodies[-1]["parameters"]
    return parameters


def test_greedy_is_asked_for_in_the_servers_way(server: StubServer) -> None:
    """The server refuses a temperature of 0, and samples if any sampling parameter is set."""
    parameters = sent(server, temperature=0, max_tokens=9)
    assert parameters["do_sample"] is False
    assert parameters["max_new_tokens"] == 9
    assert {"temperature", "top_p", "top_k", "typical_p"} & parameters.keys() == set()


def test_sampling_is_passed_on(server: StubServer) -> None:
    """A temperature above 0 is sent as it is; what the LLM's owner left unset is not sent."""
    parameters = sent(server, temperature=0.5, top_k=7, seed=3, stop=["A", "B", "C"])
    assert (parameters["temperature"], parameters["top_k"], parameters["seed"]) == (0.5, 7, 3)
    assert parameters["stop"] == ["\n````", "\n# Query:\n", "A", "B"]


def test_typed_answers_are_constrained_to_their_schema(server: StubServer) -> None:
    """The schema is sent to the server as its ``grammar``."""
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "object", "properties": {"a": digit}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}
    server.answer = lambda _: json.dumps([{"generated_text": '{"a": 1}'}]).encode()
    grammar = sent(server, response_format=form)["grammar"]
    assert grammar == {"type": "json", "value": {**schema, "additionalProperties": False}}
