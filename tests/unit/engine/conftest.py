"""Tiny models of several architectures with random weights, and a tokenizer trained on a preset."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from urial_core import load_prompt

if has_torch := find_spec("torch") is not None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import (
        AutoModelForCausalLM,
        Gemma3TextConfig,
        GPT2Config,
        LlamaConfig,
        MambaConfig,
        MistralConfig,
        PreTrainedTokenizerFast,
    )

    from urial_core.backends.transformers import TransformersModel
    from urial_core.backends.transformers.grouped_attention import use_grouped_attention

sys.path.insert(0, str(Path(__file__).parent))  # for `drawn_schemas`


def pytest_pycollect_makemodule() -> None:
    """Skip all tests of this folder where torch is not installed."""
    if not has_torch:
        pytest.skip("needs torch")


SIZE = {"hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 64}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
PLAIN: dict[str, Callable[..., Any]] = {
    "llama": lambda **k: LlamaConfig(**SIZE, **HEADS, **TOKENS, **k),
    "mistral with a window": lambda **k: MistralConfig(
        **SIZE, **HEADS, **TOKENS, sliding_window=64, **k
    ),
    "gemma3 with mixed windows": lambda **k: Gemma3TextConfig(
        **SIZE,
        **HEADS,
        **TOKENS,
        head_dim=8,
        sliding_window=32,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        **k,
    ),
    "gpt2": lambda **k: GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=4096, **TOKENS, **k),
}
STATEFUL: dict[str, Callable[..., Any]] = {
    "mamba": lambda **k: MambaConfig(hidden_size=32, num_hidden_layers=2, **TOKENS, **k),
}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with a begin-of-text token, like most base models' own."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([load_prompt(name).prefix for name in ("default", "ja")], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@pytest.fixture(scope="session")
def make_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., Any]:
    """Build a tiny model by architecture name, with the same weights every time."""

    def make(architecture: str) -> Any:
        torch.manual_seed(0)
        config = {**PLAIN, **STATEFUL}[architecture](vocab_size=len(tokenizer))
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():  # larger weights, so that the best token leads by more than rounding
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(3)
        return model.eval()

    return make


@pytest.fixture
def make_engine(
    make_model: Callable[..., Any], tokenizer: PreTrainedTokenizerFast
) -> Callable[..., TransformersModel]:
    """Wrap a tiny model as a completion model, with attention as in one that is loaded by name."""

    def make(architecture: str = "llama", **options: Any) -> TransformersModel:
        options = {"prefix_on_disk": False, **options}
        model = make_model(architecture)
        use_grouped_attention(model)
        return TransformersModel(model, tokenizer, **options)

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize `plain_architecture` (attends over plain keys and values) and `architecture`.

    Windows in some layers are the harder case of windows in all, which are left to the matrix.
    """
    for name, architectures in {
        "plain_architecture": [*PLAIN],
        "architecture": [*PLAIN, *STATEFUL],
    }.items():
        if name in metafunc.fixturenames:
            marks = {"mistral with a window": pytest.mark.matrix}
            parameters = [pytest.param(one, marks=marks.get(one, ())) for one in architectures]
            metafunc.parametrize(name, parameters)
