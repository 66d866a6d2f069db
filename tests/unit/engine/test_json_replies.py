"""Replies constrained to a JSON schema: alone, in mixed batches, after cached prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from tokenizers import Tokenizer, decoders, models, normalizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.completion import CompletionRequest
from urial_core.errors import UnsupportedSchemaError
from urial_core.structured.constraints import Choice, JsonSchema

pytestmark = pytest.mark.no_cover  # many inputs to lines that other tests run too

MakeEngine = Callable[..., TransformersModel]
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "tags", "age"],
    "additionalProperties": False,
}
SCHEMAS: tuple[dict[str, Any], ...] = (
    PERSON,
    {"type": "array", "items": PERSON, "minItems": 2, "maxItems": 2},
    {"type": "integer", "minimum": 10, "maximum": 99999},
    {"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 20}]},
)


def ask(
    engine: TransformersModel, schema: dict[str, Any] | None, text: str = "Why?", **settings: Any
) -> CompletionRequest:
    parameters = GenerationParameters(**{"max_tokens": 90, **settings})
    request = UrialChat(engine, load_prompt("short")).request([Message("user", text)], parameters)
    return replace(request, constraint=schema and JsonSchema.of(schema))


def requests_for(engine: TransformersModel, **settings: Any) -> list[CompletionRequest]:
    """Return requests of all kinds, with prompts of many lengths."""
    constrained = [
        ask(engine, schema, "Who? " * (1 + 9 * index), **settings)
        for index, schema in enumerate(SCHEMAS)
    ]
    plain = [ask(engine, None, text, **settings) for text in ("Why?", "Say it again. " * 12)]
    choice = replace(plain[0], constraint=Choice(("yes", "no")))
    return [constrained[0], plain[0], choice, *constrained[1:], plain[1]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_replies_match_their_schemas(
    architecture: str, temperature: float, make_engine: MakeEngine
) -> None:
    """Replies match their schemas within ``max_tokens``, greedy and sampled, cached or not."""
    engine = make_engine(architecture)
    for seed in range(3):
        for schema in SCHEMAS:
            request = ask(engine, schema, temperature=temperature, seed=seed)
            completion = engine.complete([request])[0]
            Draft202012Validator(schema).validate(json.loads(completion.text))
            assert completion.finish in ("stop", "length")
            assert completion.usage
            assert completion.usage.output_tokens <= 90


@pytest.mark.parametrize(
    ("max_batch_size", "temperature"),
    [
        (3, 0.0),
        (16, 1.0),
        pytest.param(3, 1.0, marks=pytest.mark.matrix),
        pytest.param(16, 0.0, marks=pytest.mark.matrix),
    ],
)
def test_batches(
    plain_architecture: str, max_batch_size: int, temperature: float, make_engine: MakeEngine
) -> None:
    """Constrained and unconstrained replies of a batch equal those alone."""
    alone = make_engine(plain_architecture)
    requests = requests_for(alone, temperature=temperature, seed=3)
    expected = [alone.complete([request])[0] for request in requests]
    together = make_engine(plain_architecture, max_batch_size=max_batch_size)
    for _ in range(2):
        completions = together.complete(requests)
        assert [c.text for c in completions] == [c.text for c in expected]
        assert [c.finish for c in completions] == [c.finish for c in expected]


def test_forced_tokens_are_read_together(plain_architecture: str, make_engine: MakeEngine) -> None:
    """Forced tokens are read in passes of several, and the reply is unchanged."""
    engine = make_engine(plain_architecture)
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    engine._loaded.register_forward_pre_hook(count)
    for schema in SCHEMAS[:2]:
        engine.complete([ask(engine, schema)])  # reads the prompt
        passes = 0
        together = engine.complete([ask(engine, schema)])[0]
        together_passes, passes = passes, 0
        one_by_one = engine.complete([ask(engine, schema, logprobs=0)])[0]
        assert together.text == one_by_one.text
        assert together.usage == one_by_one.usage
        assert together_passes < passes
        assert one_by_one.usage
        all_reported = len(one_by_one.logprobs) == one_by_one.usage.output_tokens
        assert all_reported is (one_by_one.closing == "")


def test_forced_tokens_of_a_batch_are_read_together(make_engine: MakeEngine) -> None:
    """Tokens that are forced in all replies of a batch are read in one pass too."""
    engine = make_engine()
    first = {"const": "a text that is forced"}
    schema = {
        "type": "array",
        "prefixItems": [first, {"enum": [1, 2]}],
        "minItems": 2,
        "items": False,
    }
    requests = [ask(engine, schema, text) for text in ("Why?", "Who?")]
    engine.complete(requests[:1])  # reads most of the prompts
    passes = list[int]()
    engine._loaded.register_forward_pre_hook(
        lambda _, __, inputs: passes.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    for completion in engine.complete(requests):
        assert completion.finish == "stop"
        assert completion.usage
        assert len(passes) < 5 < completion.usage.output_tokens


def test_penalties_do_not_apply(make_engine: MakeEngine) -> None:
    """A reply constrained to a schema is the same with any penalties."""
    engine = make_engine()
    texts = {
        engine.complete([ask(engine, SCHEMAS[1], **penalties)])[0].text
        for penalties in (
            {"repetition_penalty": 1.0},
            {"repetition_penalty": 1.9},
            {"frequency_penalty": 2.0, "presence_penalty": 2.0},
        )
    }
    assert len(texts) == 1


def test_stops_do_not_apply(make_engine: MakeEngine) -> None:
    """No stop string and no delimiter cuts JSON in the middle."""
    engine = make_engine()
    schema = {"const": ["````", "# Query:", "stop"]}
    completion = engine.complete([ask(engine, schema, stop=("stop", "`"))])[0]
    assert completion.text == json.dumps(schema["const"])
    assert completion.finish == "stop"


def test_cached_prompts_stay_valid(plain_architecture: str, make_engine: MakeEngine) -> None:
    """Later requests reuse what constrained replies cached, and their replies are unchanged."""
    engine = make_engine(plain_architecture)
    request = ask(engine, PERSON)
    first = engine.complete([request])[0]
    continued = request.prompt + first.text
    for following in (
        replace(request, prompt=continued, constraint=None),
        replace(
            request, prompt=continued + "\n````\n\n# Query:\n````\nAnd?\n````\n\n# Answer:\n````\n"
        ),
        replace(request, constraint=None),
        request,
    ):
        fresh = make_engine(plain_architecture).complete([following])[0]
        completion = engine.complete([following])[0]
        assert completion.text == fresh.text
        assert completion.usage
        assert first.usage
        assert completion.usage.cached_tokens >= first.usage.input_tokens - 1


def test_a_stream_adds_up_to_the_completion(make_engine: MakeEngine) -> None:
    """A stream's chunks add up to the completion, and only the last has a finish reason."""
    engine = make_engine()
    request = ask(engine, PERSON)
    chunks = list(engine.stream(request))
    assert "".join(chunk.text for chunk in chunks) == engine.complete([request])[0].text
    assert [chunk.finish is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


def test_a_value_that_cannot_fit_is_cut_at_once(make_engine: MakeEngine) -> None:
    """It fails no other request of the batch."""
    engine = make_engine()
    requests = [ask(engine, PERSON, max_tokens=4), ask(engine, PERSON)]
    cut, whole = engine.complete(requests)
    assert (cut.text, cut.finish) == ("", "length")
    assert whole.text == engine.complete(requests[1:])[0].text


def test_what_closes_a_value_is_marked(make_engine: MakeEngine) -> None:
    """It is the end of the text, and its tokens have no log-probabilities."""
    engine = make_engine()
    schema = {"type": "array", "items": {"type": "string", "minLength": 9}, "minItems": 9}
    completion = engine.complete([ask(engine, schema, max_tokens=120, logprobs=0)])[0]
    assert completion.finish == "length"
    assert completion.closing
    assert completion.text.endswith(completion.closing)
    assert completion.usage
    assert 0 < len(completion.logprobs) < completion.usage.output_tokens


def test_a_schema_of_no_value_is_refused_before_the_model_runs(make_engine: MakeEngine) -> None:
    """It is refused at once."""
    engine = make_engine()
    engine._loaded.register_forward_pre_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(UnsupportedSchemaError, match="No value can match"):
        engine.complete([ask(engine, {"type": "array", "minItems": 2, "maxItems": 1})])


def test_without_llguidance(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llguidance, the schema is ignored."""
    from urial_core.backends.transformers import engine as engine_module

    monkeypatch.setattr(engine_module, "find_spec", lambda _: None)
    engine = make_engine()
    constrained, free = ask(engine, PERSON), ask(engine, None)
    assert engine.complete([constrained])[0].text == engine.complete([free])[0].text


def sentencepiece() -> PreTrainedTokenizerFast:
    """Return a tokenizer like Llama 2's: a mark stands for the space, bytes for rare characters."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    backend.train_from_iterator([load_prompt("default").prefix.replace("\n", " ")], trainer)
    plain = json.loads(backend.to_str())
    plain["added_tokens"] = plain["added_tokens"][:3]  # bytes are ordinary tokens
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(plain)),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def test_sentencepiece() -> None:
    """With byte-fallback tokens and marked spaces, JSON matches its schema too."""
    tokenizer = sentencepiece()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    heads = {"num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2}
    config = LlamaConfig(**sizes, **heads, vocab_size=len(tokenizer), max_position_embeddings=4096)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    engine = TransformersModel(model, tokenizer)
    fixed = {"const": {"größe": "你好 🎉  x"}}
    for schema in (*SCHEMAS, fixed):
        for seed in range(3):
            request = ask(engine, schema, temperature=1.5, seed=seed, max_tokens=150)
            completion = engine.complete([request])[0]
            Draft202012Validator(schema).validate(json.loads(completion.text))
            assert completion.text == completion.text.strip()


def test_every_token_has_its_id(make_engine: MakeEngine) -> None:
    """Chunks report the ids of all tokens that were written, forced ones too."""
    engine = make_engine()
    requests = [ask(engine, PERSON), ask(engine, None, max_tokens=12)]
    for request, completion in zip(requests, engine.complete(requests), strict=True):
        ids = completion.token_ids
        assert completion.usage
        assert len(ids) == completion.usage.output_tokens
        assert [one for chunk in engine.stream(request) for one in chunk.token_ids] == list(ids)
