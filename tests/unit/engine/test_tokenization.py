"""Encode text, and decode it token by token."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from urial_core import GenerationParameters, JsonSchema, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.tokenization import Tokenization


@pytest.fixture(scope="module")
def tokenization(tokenizer: Any) -> Tokenization:
    return Tokenization(tokenizer)


@given(text=st.text(max_size=60))
def test_pieces_add_up(tokenizer: Any, text: str) -> None:
    """Decoding token by token gives the text, with every character whole."""
    tokenization = Tokenization(tokenizer)
    ids = tokenization.encode(text)[1:]
    step = tokenization.decoder([0])
    pieces = [step(token) for token in ids]
    assert "".join(pieces) == text


def test_emoji_are_decoded_whole(tokenization: Tokenization) -> None:
    """A character of several tokens is returned with the token that completes it."""
    ids = tokenization.encode("👩‍💻é日")[1:]
    step = tokenization.decoder([0])
    assert "\ufffd" not in "".join(step(token) for token in ids)
    assert len(ids) > 5


def test_special_tokens_in_text_stay_text(tokenization: Tokenization) -> None:
    """A special token's name in a user's text is encoded as text, not as the token."""
    ids = tokenization.encode("a</s>b")
    assert ids[0] == 0
    assert 1 not in ids
    assert tokenization.decode_reply([0], ids[1:]) == "a</s>b"


@pytest.mark.parametrize("template", ["<s> $A </s>", "$A </s>", "$A", "<s> $A"])
def test_an_end_of_text_token_is_not_added(tokenizer: Any, template: str) -> None:
    """A prompt goes on, so it never ends with the token that some tokenizers add to each text."""
    backend = deepcopy(tokenizer.backend_tokenizer)
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    adding = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenization = Tokenization(adding)
    begin = [0] if template.startswith("<s>") else []
    plain = tokenizer("Hi there", add_special_tokens=False)["input_ids"]
    assert tokenization.encode("Hi there") == [*begin, *plain]
    assert tokenization.encode("") == begin


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff", "\ud83d\ude00"])
def test_lone_surrogates(tokenization: Tokenization, text: str) -> None:
    """Half a character is encoded as the replacement character, two halves as the character."""
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert tokenization.encode(text) == tokenization.encode(whole)


@pytest.mark.parametrize("schema", [None, {"type": "string"}])
def test_only_the_tokenizers_tokens_are_drawn(
    tokenizer: Any, make_model: Callable[..., Any], schema: dict[str, Any] | None
) -> None:
    """Ids beyond the tokenizer's own, which pad a model's vocabulary, are never sampled."""
    known = len(tokenizer)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64}
    config = LlamaConfig(
        **sizes, num_attention_heads=4, vocab_size=known + 500, max_position_embeddings=4096
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():  # so that what pads the vocabulary is likelier than all tokens
        model.lm_head.weight[known:] *= 30
    engine = TransformersModel(model, tokenizer)
    parameters = GenerationParameters(temperature=1.0, max_tokens=24, seed=1, logprobs=5)
    chat = UrialChat(engine, load_prompt("short"))
    request = chat.request(
        [Message("user", "Hi")],
        parameters,
        response_format=JsonSchema.of(schema) if schema else None,
    )
    names = set(map(Tokenization(tokenizer).decode, range(known)))
    chunks = list(engine.stream(request))
    written = [one for chunk in chunks for one in chunk.logprobs]
    assert written
    for one in written:
        assert {one.token, *(name for name, _ in one.top)} <= names
        assert all(logprob > -100 for _, logprob in one.top)
