"""The transformers engine on the real base model, most of whose layers have sliding windows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from urial_core import GenerationParameters, Message, TextDelta, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import CompletionRequest
from urial_core.structured.constraints import Choice, Constraint, JsonSchema

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.model

QUESTIONS = (
    "What is the capital of France?",
    "Write a Python function that adds two numbers.",
    "List three uses of salt.",
    "Why is the sky blue? Explain it to a child who has never heard of light or air before.",
)
GREEDY = GenerationParameters(max_tokens=12, repetition_penalty=1.0)


def requests_for(model: TransformersModel, *questions: str) -> list[CompletionRequest]:
    chat = UrialChat(model, load_prompt("default"))
    return [chat.request([Message("user", question)], GREEDY) for question in questions]


@pytest.mark.parametrize(
    "question",
    [
        QUESTIONS[0],
        *(pytest.param(question, marks=pytest.mark.matrix) for question in QUESTIONS[1:]),
    ],
)
def test_greedy_equals_plain_generate(demo_model: TransformersModel, question: str) -> None:
    """In float32, replies after a cached prefix equal those of `generate` on the whole prompt."""
    model = demo_model._ready_engine().model
    (request,) = requests_for(demo_model, question)
    reply = demo_model.complete([request])[0].text
    ids = torch.tensor([demo_model.tokenizer(request.prompt)])
    made = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=request.max_tokens,
    )[0, ids.shape[1] :]
    plain = demo_model._tokenization().decode_reply(ids[0].tolist(), made.tolist())
    assert reply
    assert plain.startswith(reply)


@pytest.mark.matrix
def test_batch_equals_one_by_one(demo_model: TransformersModel) -> None:
    """In float32, replies of a batch equal those alone."""
    requests = requests_for(demo_model, *QUESTIONS)
    alone = [demo_model.complete([request])[0].text for request in requests]
    assert [completion.text for completion in demo_model.complete(requests)] == alone


def test_answers_end_by_themselves(demo_model: TransformersModel) -> None:
    """A plain question gets a plain answer, which ends at the delimiter without containing it."""
    chat = UrialChat(demo_model, load_prompt("default"))
    (reply,) = chat.reply([chat.request([Message("user", QUESTIONS[0])])])
    assert "Paris" in reply.text
    assert reply.end.reason == "delimiter"
    assert not any(mark in reply.text for mark in ("````", "# Query", "# Answer"))


@pytest.mark.matrix
def test_conversations_are_reused(demo_model: TransformersModel) -> None:
    """Each turn reuses all cached tokens of the one before."""
    chat = UrialChat(demo_model, load_prompt("default"))
    messages = [Message("user", "Name a fruit that starts with B.")]
    first = chat.reply([chat.request(messages, GREEDY)])[0]
    messages += [Message("assistant", first.text), Message("user", "And one with C?")]
    second = chat.reply([chat.request(messages, GREEDY)])[0]
    assert first.end.usage
    assert second.end.usage
    assert second.end.usage.cached_tokens >= first.end.usage.input_tokens


@pytest.mark.matrix
def test_a_stream_has_a_delta_per_token(demo_model: TransformersModel) -> None:
    """Text is streamed token by token, and adds up to the whole reply."""
    chat = UrialChat(demo_model, load_prompt("default"))
    request = chat.request([Message("user", QUESTIONS[3])], GREEDY)
    deltas = [event.text for event in chat.stream(request) if isinstance(event, TextDelta)]
    assert "".join(deltas) == chat.reply([request])[0].text
    assert len(deltas) > len("".join(deltas).split()) // 2


@pytest.mark.parametrize(
    "name",
    [
        "rag",
        *(
            pytest.param(name, marks=pytest.mark.matrix)
            for name in ("default", "helpful", "short", "instruction_only", "ja")
        ),
    ],
)
def test_every_preset_answers(demo_model: TransformersModel, name: str) -> None:
    """With every preset the model replies, and the reply shows none of the prompt's delimiters."""
    chat = UrialChat(demo_model, load_prompt(name))
    parameters = GenerationParameters(max_tokens=12)
    (reply,) = chat.reply([chat.request([Message("user", QUESTIONS[0])], parameters)])
    assert reply.text
    assert not any(mark in reply.text for mark in ("````", "# Query:", "# Answer:"))


ORDER = {
    "$defs": {
        "item": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 30},
                "count": {"type": "integer", "minimum": 1, "maximum": 99},
                "kind": {"enum": ["food", "tool", "other"]},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/item"}, "maxItems": 2},
            },
            "required": ["name", "count", "kind"],
            "additionalProperties": False,
        }
    },
    "type": "object",
    "properties": {
        "customer": {"type": ["string", "null"]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1, "maxItems": 3},
        "due": {"type": "string", "format": "date"},
    },
    "required": ["customer", "items", "due"],
    "additionalProperties": False,
}


def constrained(
    model: TransformersModel, text: str, constraint: Constraint, max_tokens: int = 120
) -> CompletionRequest:
    parameters = GenerationParameters(max_tokens=max_tokens)
    chat = UrialChat(model, load_prompt("short"))
    return replace(chat.request([Message("user", text)], parameters), constraint=constraint)


@pytest.mark.matrix
def test_unicode_is_copied(demo_model: TransformersModel) -> None:
    """The model copies characters of many bytes into a JSON string, as they are."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}},
        "required": ["name"],
        "additionalProperties": False,
    }
    examples = [
        message
        for name in ("Ann", "Bob")
        for message in (
            Message("user", f"Write the name {name} as JSON."),
            Message("assistant", f'{{"name": "{name}"}}'),
        )
    ]
    chat = UrialChat(demo_model, load_prompt("short"))
    for name in ("你好", "🎉🎊", "Zoë"):
        asked = Message("user", f"Write the name {name} as JSON.")
        request = chat.request([*examples, asked], GenerationParameters(max_tokens=40))
        request = replace(request, constraint=JsonSchema.of(schema))
        assert demo_model.complete([request])[0].text == f'{{"name": "{name}"}}'


@pytest.mark.matrix
@pytest.mark.parametrize("max_tokens", [50, 80, 200])
def test_nested_schema(demo_model: TransformersModel, max_tokens: int) -> None:
    """Replies match a nested, recursive schema, within any ``max_tokens``."""
    request = constrained(
        demo_model,
        "Ann orders two hammers and a cake for the first of May 2025. Write the order as JSON.",
        JsonSchema.of(ORDER),
        max_tokens,
    )
    completion = demo_model.complete([request])[0]
    Draft202012Validator(ORDER).validate(json.loads(completion.text))
    assert completion.usage
    assert completion.usage.output_tokens <= max_tokens


@pytest.mark.matrix
def test_forced_tokens_change_nothing(demo_model: TransformersModel) -> None:
    """Reading forced tokens in one pass gives the reply that reading them one by one gives."""
    request = constrained(demo_model, "Order a cake, as JSON.", JsonSchema.of(ORDER))
    each = replace(request, parameters=request.parameters.replace(logprobs=0))
    assert demo_model.complete([request])[0].text == demo_model.complete([each])[0].text


def test_choices_are_sensible(demo_model: TransformersModel) -> None:
    """Of a few answers, the model chooses the correct one where it is obvious."""
    for question, options, expected in (
        ("What is the capital of France?", ("London", "Paris", "Rome"), "Paris"),
        ("Which colour is the sky on a clear day?", ("Green", "Blue", "Purple"), "Blue"),
    ):
        request = constrained(demo_model, question, Choice(options))
        assert demo_model.complete([request])[0].text == expected
