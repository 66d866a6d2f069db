"""Power sampling on the transformers engine, with a model whose distribution is enumerated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from urial_core import (
    GenerationParameters,
    Message,
    PowerSampling,
    RolloutPower,
    UrialChat,
    load_prompt,
)
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.sampling import Sampler
from urial_core.strategies import DecodingStrategy

LETTERS = ("a", "b")
END = 2


def letter_model() -> tuple[Any, TransformersModel]:
    """Return a tiny model whose tokens are two letters and the end of the text."""
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "</s>": END}, unk_token="a"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=3,
        hidden_size=16,
        num_hidden_layers=2,
        intermediate_size=16,
        num_attention_heads=2,
        eos_token_id=END,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(8)
    return model, TransformersModel(model, tokenizer, prefix_on_disk=False)


@torch.inference_mode()
def sharpened(model: Any, prompt: list[int], length: int, alpha: float) -> dict[str, float]:
    """Return p ** alpha over all texts of at most so many tokens, by enumeration."""
    powers = dict[str, float]()
    for tokens in product((0, 1, END), repeat=length):
        cut = (*tokens, END).index(END) + 1
        written = tokens[:cut]
        logits = model(torch.tensor([[*prompt, *written]])).logits[0].log_softmax(-1)
        values = [logits[len(prompt) - 1 + at, token] for at, token in enumerate(written)]
        text = "".join((*LETTERS, "$")[token] for token in written)
        powers[text] = float(torch.stack(values).sum().mul(alpha).exp())
    total = sum(powers.values())
    return {text: power / total for text, power in powers.items()}


@pytest.mark.no_cover
def test_replies_are_distributed_as_the_power() -> None:
    """Frequencies on the engine match the enumerated p ** alpha by a chi-squared test."""
    module, model = letter_model()
    strategy = PowerSampling(alpha=2.0, block_size=4, steps_per_block=12)
    chat, size = UrialChat(model, load_prompt("short"), decoding=strategy), 100
    expected = sharpened(module, [0, 1, 0], 2, 2.0)
    found = Counter[str]()
    for seed in range(size):
        parameters = GenerationParameters(seed=seed, max_tokens=2)
        reply = chat.reply([chat.plain_request("aba", parameters)])[0]
        found[reply.text + ("$" if reply.end.reason == "end_of_text" else "")] += 1
    assert not found.keys() - expected.keys()
    kept = [text for text in expected if expected[text] * size >= 5]
    rest = size - sum(found[text] for text in kept)
    wanted = [expected[text] * size for text in kept]
    counts = [found[text] for text in kept]
    if size - sum(wanted) > 1:
        counts, wanted = [*counts, rest], [*wanted, size - sum(wanted)]
    else:
        wanted = [value * sum(counts) / sum(wanted) for value in wanted]
    assert len(counts) > 3  # else the test could not fail
    assert chisquare(counts, wanted).pvalue > 0.001


def test_the_drawn_log_probability() -> None:
    """A token reports its log-probability at the sampler's temperature, beside the model's own."""
    logits = torch.tensor([0.5, 2.0, -1.0])
    sampler = Sampler(GenerationParameters(temperature=0.5, repetition_penalty=1.0, logprobs=0))
    (token,) = sampler.logprobs(logits, 1, str)
    assert token.logprob == pytest.approx(float(logits.log_softmax(-1)[1]))
    assert token.drawn == pytest.approx(float((logits / 0.5).log_softmax(-1)[1]))


@pytest.mark.parametrize(
    "changed",
    [{"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}, {"repetition_penalty": 1.1}],
)
def test_it_is_unknown_where_it_is_not_of_the_whole_vocabulary(changed: dict[str, Any]) -> None:
    """With penalties, a nucleus or greedy decoding, no drawn log-probability is reported."""
    settings = {"temperature": 0.5, "repetition_penalty": 1.0, "logprobs": 0, **changed}
    (token,) = Sampler(GenerationParameters(**settings)).logprobs(torch.zeros(9), 1, str)
    assert token.drawn is None


@pytest.mark.parametrize(
    ("strategy", "count"),
    [
        (PowerSampling(alpha=1.5, block_size=6, steps_per_block=3), "proposals"),
        (RolloutPower(alpha=1.5, block_size=6, rollouts=2, rollout_tokens=3), "rollouts"),
    ],
)
def test_a_conversation(
    strategy: DecodingStrategy, count: str, make_engine: Callable[..., TransformersModel]
) -> None:
    """In a conversation, the reply of a seed is repeated, and blocks continue one another."""
    chat = UrialChat(make_engine(), load_prompt("short"), decoding=strategy)
    request = chat.request([Message("user", "Hi")], GenerationParameters(seed=1, max_tokens=14))
    (first,), (again,) = chat.reply([request]), chat.reply([request])
    assert (first.text, first.end.decoding) == (again.text, again.end.decoding)
    assert first.text
    assert first.end.decoding is not None
    assert first.end.decoding[count] > 3
