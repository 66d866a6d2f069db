"""What a server is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from fake_server import (
    BEGIN,
    DONE,
    KINDS,
    PROMPT,
    WAYS,
    FakeServer,
    Pieces,
    asked,
    piece,
    request_for,
)
from hypothesis import given
from hypothesis import strategies as st

from urial_core import GenerationParameters, Message, ParameterError, compose
from urial_core.backends.completions_server import (
    DIALECTS,
    LLAMA_CPP,
    chat_payload,
    completion_payload,
)
from urial_core.composing import compose_plain
from urial_core.structured.constraints import Choice, JsonSchema

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FRAME_STOPS = ["\n````", "\n# Query:\n"]

EXPECTED: dict[str, dict[str, Any]] = {
    "generic": {"seed": 7},
    "vllm": {
        "seed": 7,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "include_stop_str_in_output": True,
    },
    "llama.cpp": {
        "seed": 7,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": 1.1,
        "repeat_last_n": 64,
        "verbose": True,
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_a_server_has_another_default_for_is_sent(kind: str) -> None:
    """Length, sampling and stops are always said, under the server's names; nothing else is."""
    request = request_for("Hi", seed=7)
    assert completion_payload(request, "m", DIALECTS[kind]) == {
        "model": "m",
        "prompt": request.prompt,
        "max_tokens": 1024,
        "temperature": 0.0,
        "top_p": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "stop": FRAME_STOPS,
        **EXPECTED[kind],
    }


@pytest.mark.parametrize(
    ("kind", "penalty"),
    [
        ("generic", "repetition_penalty"),
        ("vllm", "repetition_penalty"),
        ("llama.cpp", "repeat_penalty"),
    ],
)
def test_what_was_said_is_sent(kind: str, penalty: str) -> None:
    """Parameters that somebody set reach every server, those a strict one may refuse included."""
    request = request_for(
        max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, repetition_penalty=1.2, logprobs=0
    )
    payload = completion_payload(request, "m", DIALECTS[kind])
    assert (payload["max_tokens"], payload["temperature"], payload["top_p"]) == (5, 0.5, 0.9)
    assert (payload["top_k"], payload[penalty]) == (3, 1.2)
    assert payload["logprobs"] == (1 if kind == "llama.cpp" else 0)


@pytest.mark.parametrize("kind", KINDS)
@given(
    stop=st.lists(st.text(min_size=1, max_size=5), max_size=9),
    stream=st.sampled_from([True, False]),
)
def test_payloads_are_json_and_within_limits(kind: str, stop: list[str], *, stream: bool) -> None:
    """Whatever the stops, the format's come first, and no more go than the server takes."""
    dialect = DIALECTS[kind]
    payload = completion_payload(request_for(stop=tuple(stop)), "m", dialect, stream=stream)
    assert json.loads(json.dumps(payload)) == payload
    wanted = list(dict.fromkeys([*FRAME_STOPS, *dict.fromkeys(stop)]))
    sent = list(dict.fromkeys(payload["stop"]))
    assert sent == wanted[: len(sent)]
    assert len(payload["stop"]) == len(sent)
    assert len(sent) == (len(wanted) if kind == "llama.cpp" else min(4, len(wanted)))
    assert payload.get("stream", False) is stream


CHOICE = Choice(("# Answer:\n", 'say "yes"'))
FIELDS = {
    "vllm": (
        {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}},
        {"structured_outputs": {"choice": ["# Answer:\n", 'say "yes"']}},
    ),
    "llama.cpp": (
        {"json_schema": SCHEMA},
        {"grammar": r'root ::= "# Answer:\n" | "say \"yes\""'},
    ),
}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("which", [0, 1])
def test_constraints_are_sent_in_the_servers_own_fields(kind: str, which: int) -> None:
    """The form is asked for as this server knows it, and stop strings cannot end it early."""
    constraint = (JsonSchema.of(SCHEMA), CHOICE)[which]
    payload = completion_payload(request_for(constraint=constraint), "m", DIALECTS[kind])
    assert FIELDS[kind][which].items() <= payload.items()
    assert "stop" not in payload
    assert FakeServer(kind).model().features.enforces(constraint)


def test_a_server_that_constrains_nothing_is_sent_no_constraint() -> None:
    """The request goes as any other, and the model says that it does not constrain."""
    for constraint in (JsonSchema.of(SCHEMA), CHOICE):
        payload = completion_payload(request_for(constraint=constraint), "m")
        assert payload == completion_payload(request_for(), "m")
        assert not FakeServer("generic").model().features.enforces(constraint)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
async def test_models_send_just_that(kind: str, way: str) -> None:
    """What a model sends is the payload, and the extra fields of its owner."""

    def answer(body: Any) -> Any:
        return (
            Pieces([piece("a", "stop"), DONE]) if body.get("stream") else fake_server.plainly(body)
        )

    request, fake_server = request_for("Hi", temperature=0.3), FakeServer(kind)
    fake_server.answer = answer
    await asked(fake_server.model(extra_body={"cache_salt": "x"}), way, request)
    payload = completion_payload(request, "base", DIALECTS[kind], stream="stream" in way)
    [body] = fake_server.completions
    assert {**body, "prompt": fake_server.text_of(body["prompt"])} == {**payload, "cache_salt": "x"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("constraint", [None, Choice(("a", "b"))])
async def test_llama_cpp_is_sent_tokens(way: str, constraint: Choice | None) -> None:
    """Of its tokenizer, told to leave special tokens in a text as text; asked once for a page."""

    def answer(body: Any) -> Any:
        return (
            Pieces([piece("a", "stop"), DONE]) if body.get("stream") else fake_server.plainly(body)
        )

    fake_server = FakeServer("llama.cpp", answer)
    model, request = fake_server.model(), request_for("Hi </s>", constraint=constraint)
    count = model.count_tokens(request.prompt)
    for _ in range(2):
        await asked(model, way, request)
    prompts = [tuple(body["prompt"]) for body in fake_server.completions]
    [prompt] = set(prompts)
    assert (len(prompt), prompt[0]) == (count, BEGIN)
    bodies = [seen.body for seen in fake_server.seen if seen.path == "/tokenize"]
    assert [body["content"] for body in bodies] == ["a", request.prompt]
    assert not any(body["parse_special"] for body in bodies)


@pytest.mark.parametrize("way", WAYS)
async def test_a_field_can_be_taken_away(way: str) -> None:
    """For servers that refuse what this project sends unasked."""

    def answer(body: Any) -> Any:
        return (
            Pieces([piece("a", "stop"), DONE]) if body.get("stream") else fake_server.plainly(body)
        )

    fake_server = FakeServer("generic", answer)
    await asked(fake_server.model(extra_body={"presence_penalty": None}), way, request_for())
    [body] = fake_server.completions
    assert "presence_penalty" not in body


@pytest.mark.parametrize("constraint", [Choice(("a", "b")), JsonSchema.of({"type": "object"})])
def test_forms_are_written_without_a_penalty(constraint: Choice | JsonSchema) -> None:
    """JSON and choices copy what was asked, so no penalty counts there unless somebody says so."""
    unsaid = replace(request_for(), constraint=constraint)
    said = replace(request_for(repetition_penalty=1.3), constraint=constraint)
    assert completion_payload(unsaid, "m", LLAMA_CPP)["repeat_penalty"] == 1.0
    assert completion_payload(said, "m", LLAMA_CPP)["repeat_penalty"] == 1.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_chats_payload_says_what_a_completions_does(kind: str) -> None:
    """The server writes the page by its chat template; a template holds no stop strings."""
    messages = [Message("system", "Be brief."), Message("user", "Hi")]
    request = compose(PROMPT, messages, GenerationParameters(max_tokens=9, stop=("x",), logprobs=2))
    completion = completion_payload(request, "m", DIALECTS[kind])
    chat = chat_payload(request, messages, "m", DIALECTS[kind])
    assert chat.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert (chat.pop("logprobs"), chat.pop("top_logprobs")) == (True, completion.pop("logprobs"))
    assert chat == {key: value for key, value in completion.items() if key != "prompt"}
    assert chat["stop"] == [*FRAME_STOPS, "x"]
    assert json.loads(json.dumps(chat)) == chat


def test_a_chats_payload_continues_a_beginning() -> None:
    """A final assistant message is not answered but continued, in vLLM's and llama.cpp's words."""
    messages = [Message("user", "Hi"), Message("assistant", "Well,")]
    request = compose(PROMPT, messages, prefill=True)
    chat = chat_payload(request, messages, "m", DIALECTS["vllm"])
    assert chat["continue_final_message"]
    assert not chat["add_generation_prompt"]


def test_a_chat_template_writes_no_forms_and_no_tools() -> None:
    """What the server's page would lack is refused, with what to send instead."""
    messages = [Message("user", "Hi")]
    form = compose(PROMPT, messages, response_format=JsonSchema.of(SCHEMA))
    for request in (form, compose_plain("Once")):
        with pytest.raises(ParameterError, match="completion_payload"):
            chat_payload(request, messages, "m")
