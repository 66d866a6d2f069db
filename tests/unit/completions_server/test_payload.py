"""The request bodies that a server is sent."""

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
    chunks_from,
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
FORMAT_STOPS = ["\n````", "\n# Query:\n"]

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
def test_parameters_with_other_defaults_are_always_sent(kind: str) -> None:
    """Length, sampling and stop strings are sent under the server's names, and nothing else."""
    request = request_for("Hi", seed=7)
    assert completion_payload(request, "m", DIALECTS[kind]) == {
        "model": "m",
        "prompt": request.prompt,
        "max_tokens": 1024,
        "temperature": 0.0,
        "top_p": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "stop": FORMAT_STOPS,
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
def test_set_parameters_are_sent(kind: str, penalty: str) -> None:
    """Set parameters reach every server, also those that a strict server may refuse."""
    request = request_for(
        max_tokens=5, temperature=0.5, top_p=0.9, top_k=3, repetition_penalty=1.2, logprobs=0
    )
    payload = completion_payload(request, "m", DIALECTS[kind])
    assert (payload["max_tokens"], payload["temperature"], payload["top_p"]) == (5, 0.5, 0.9)
    assert (payload["top_k"], payload[penalty]) == (3, 1.2)
    assert payload["logprobs"] == (1 if kind == "llama.cpp" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_seed_is_one_that_repeats(kind: str) -> None:
    """No seed is sent that a server refuses or reads as "random", as -1 and the largest are."""
    seeds = (0, 7, 2**32 - 2, -1, -2, 2**32 - 1, 2**63, 2**64 - 1, 10**40)
    sent = [completion_payload(request_for(seed=s), "m", DIALECTS[kind])["seed"] for s in seeds]
    assert sent[:3] == list(seeds[:3])
    assert [seed for seed in sent if not 0 <= seed < 2**32 - 1] == []
    assert "seed" not in completion_payload(request_for(), "m", DIALECTS[kind])


@pytest.mark.parametrize("kind", KINDS)
@given(
    stop=st.lists(st.text(min_size=1, max_size=5), max_size=9),
    stream=st.sampled_from([True, False]),
)
def test_payloads_are_json_and_within_limits(kind: str, stop: list[str], *, stream: bool) -> None:
    """The format's stop strings come first, and no more are sent than the server accepts."""
    dialect = DIALECTS[kind]
    payload = completion_payload(request_for(stop=tuple(stop)), "m", dialect, stream=stream)
    assert json.loads(json.dumps(payload)) == payload
    wanted = list(dict.fromkeys([*FORMAT_STOPS, *dict.fromkeys(stop)]))
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
    """The server's fields constrain the completion, and no stop string can end it early."""
    constraint = (JsonSchema.of(SCHEMA), CHOICE)[which]
    payload = completion_payload(request_for(constraint=constraint), "m", DIALECTS[kind])
    assert FIELDS[kind][which].items() <= payload.items()
    assert "stop" not in payload
    assert FakeServer(kind).model().features.enforces(constraint)


def test_a_server_without_constraints_is_sent_none() -> None:
    """The request is sent without it, and the model's features do not promise it."""
    for constraint in (JsonSchema.of(SCHEMA), CHOICE):
        payload = completion_payload(request_for(constraint=constraint), "m")
        assert payload == completion_payload(request_for(), "m")
        assert not FakeServer("generic").model().features.enforces(constraint)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
async def test_models_send_the_payload(kind: str, way: str) -> None:
    """A model sends the payload and the extra fields of its owner."""

    def answer(body: Any) -> Any:
        return (
            Pieces([piece("a", "stop"), DONE])
            if body.get("stream")
            else fake_server.echo_query(body)
        )

    request, fake_server = request_for("Hi", temperature=0.3), FakeServer(kind)
    fake_server.answer = answer
    await chunks_from(fake_server.model(extra_body={"cache_salt": "x"}), way, request)
    payload = completion_payload(request, "base", DIALECTS[kind], stream="stream" in way)
    [body] = fake_server.completions
    assert {**body, "prompt": fake_server.text_of(body["prompt"])} == {**payload, "cache_salt": "x"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("constraint", [None, Choice(("a", "b"))])
async def test_llama_cpp_is_sent_token_ids(way: str, constraint: Choice | None) -> None:
    """Its tokenizer leaves special tokens in a text as text, and is asked once per prompt."""

    def answer(body: Any) -> Any:
        return (
            Pieces([piece("a", "stop"), DONE])
            if body.get("stream")
            else fake_server.echo_query(body)
        )

    fake_server = FakeServer("llama.cpp", answer)
    model, request = fake_server.model(), request_for("Hi </s>", constraint=constraint)
    count = model.count_tokens(request.prompt)
    for _ in range(2):
        await chunks_from(model, way, request)
    prompts = [tuple(body["prompt"]) for body in fake_server.completions]
    [prompt] = set(prompts)
    assert (len(prompt), prompt[0]) == (count, BEGIN)
    bodies = [request.body for request in fake_server.received if request.path == "/tokenize"]
    assert [body["content"] for body in bodies] == ["", request.prompt]
    assert not any(body["parse_special"] for body in bodies)


@pytest.mark.parametrize("way", WAYS)
async def test_a_field_can_be_removed(way: str) -> None:
    """A server that refuses a default field can be sent requests without it."""

    def answer(body: Any) -> Any:
        return (
            Pieces([piece("a", "stop"), DONE])
            if body.get("stream")
            else fake_server.echo_query(body)
        )

    fake_server = FakeServer("generic", answer)
    await chunks_from(fake_server.model(extra_body={"presence_penalty": None}), way, request_for())
    [body] = fake_server.completions
    assert "presence_penalty" not in body


@pytest.mark.parametrize("constraint", [Choice(("a", "b")), JsonSchema.of({"type": "object"})])
def test_constraints_switch_the_default_penalty_off(constraint: Choice | JsonSchema) -> None:
    """JSON and choices repeat what was asked for; only a penalty that is set applies."""
    unset = replace(request_for(), constraint=constraint)
    penalized = replace(request_for(repetition_penalty=1.3), constraint=constraint)
    assert completion_payload(unset, "m", LLAMA_CPP)["repeat_penalty"] == 1.0
    assert completion_payload(penalized, "m", LLAMA_CPP)["repeat_penalty"] == 1.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_payload_has_the_fields_of_a_completion(kind: str) -> None:
    """The server composes the prompt by its chat template, which has no stop strings."""
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
    assert chat["stop"] == [*FORMAT_STOPS, "x"]
    assert json.loads(json.dumps(chat)) == chat


def test_a_chat_payload_continues_a_prefill() -> None:
    """A final assistant message is continued, in the fields of vLLM and llama.cpp."""
    messages = [Message("user", "Hi"), Message("assistant", "Well,")]
    request = compose(PROMPT, messages, prefill=True)
    chat = chat_payload(request, messages, "m", DIALECTS["vllm"])
    assert chat["continue_final_message"]
    assert not chat["add_generation_prompt"]


def test_a_chat_payload_refuses_formats_and_plain_text() -> None:
    """The error says what to send instead."""
    messages = [Message("user", "Hi")]
    typed = compose(PROMPT, messages, response_format=JsonSchema.of(SCHEMA))
    for request in (typed, compose_plain("Once")):
        with pytest.raises(ParameterError, match="completion_payload"):
            chat_payload(request, messages, "m")


def test_llama_cpp_is_sent_dry() -> None:
    """llama.cpp's own fields are sent where DRY is on, line breaks among the breakers."""
    request = request_for(dry_multiplier=0.8, dry_sequence_breakers=(":",))
    payload = completion_payload(request, "m", LLAMA_CPP)
    assert {name: value for name, value in payload.items() if name.startswith("dry_")} == {
        "dry_multiplier": 0.8,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_sequence_breakers": ["\n", ":"],
        "dry_penalty_last_n": 1 << 20,
    }


@pytest.mark.parametrize(
    ("parameters", "penalty"),
    [
        ({}, 1.1),
        ({"dry_multiplier": 2.0}, 1.0),
        ({"dry_multiplier": 2.0, "repetition_penalty": 1.2}, 1.2),
    ],
)
def test_dry_replaces_the_default_penalty(parameters: dict[str, float], penalty: float) -> None:
    """llama.cpp's penalty counts the last example too; with DRY, it is off unless it is set."""
    payload = completion_payload(request_for(**parameters), "m", LLAMA_CPP)
    assert payload["repeat_penalty"] == penalty


@pytest.mark.parametrize("constraint", [JsonSchema.of(SCHEMA), Choice(("a", "b"))])
def test_dry_is_off_in_values(constraint: JsonSchema | Choice) -> None:
    """A constrained completion is sent without DRY: values repeat what the user asked for."""
    request = replace(request_for(dry_multiplier=0.8), constraint=constraint)
    assert not any(name.startswith("dry_") for name in completion_payload(request, "m", LLAMA_CPP))


def test_other_servers_are_sent_dry_only_if_they_may_have_it() -> None:
    """An unknown server gets the parameters that are set; vLLM, which has no DRY, gets none."""
    request = request_for(dry_multiplier=0.8)
    assert "dry_multiplier" not in completion_payload(request, "m", DIALECTS["vllm"])
    generic = completion_payload(request, "m", DIALECTS["generic"])
    assert {n: v for n, v in generic.items() if n.startswith("dry_")} == {"dry_multiplier": 0.8}
