"""Measure what CUDA graphs save of a decoding step, on a GPU.

    python benchmarks/cuda_graphs.py

Models with the shapes of Gemma 3 270M and 4B and random weights decode behind 1,300 tokens: what a
step costs depends on the shapes alone. The table shows the median milliseconds of a step by
launching its kernels one by one, and by a graph; a draft is nine tokens of one sequence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from urial_core.backends.transformers.cuda_graphs import CudaGraphs
from urial_core.backends.transformers.forward import Forward
from urial_core.backends.transformers.grouped_attention import use_grouped_attention
from urial_core.backends.transformers.tokenization import Tokenization

SHAPES: dict[str, dict[str, int]] = {
    "270M": {
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "sliding_window": 512,
    },
    "4B": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 1024,
    },
}
COLUMNS, STEPS = 1300, 20
VOCABULARY = 262144


def forward(shape: dict[str, int]) -> Forward:
    """Return a model with random weights on the GPU, in bfloat16."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(vocab_size=VOCABULARY, head_dim=256, **shape)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    use_grouped_attention(model)
    words = {f"t{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.BPE(words, []))
    return Forward(model, Tokenization(PreTrainedTokenizerFast(tokenizer_object=tokenizer)))


def milliseconds(step: Callable[..., Any], cache: Any, tokens: Sequence[Sequence[int]]) -> float:
    """Return the median time of a step, which is undone each time."""
    times = list[float]()
    for _ in range(STEPS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step(cache, tokens, last=len(tokens[0]))
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        cache.crop(len(tokens[0]))
    return 1000 * median(times[STEPS // 4 :])  # graphs are captured in the first


@torch.inference_mode()
def main() -> None:
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16\n")
    print("| shape | sequences | kernels one by one | graph |\n| --- | --- | ---: | ---: |")
    for name, shape in SHAPES.items():
        plain = forward(shape)
        for rows, count in ((1, 1), (1, 9), (4, 1), (16, 1), (64, 1)):
            cache = plain.new_cache([0] * rows)
            plain(cache, [[5 + row] * COLUMNS for row in range(rows)])
            graphs = CudaGraphs(plain)
            tokens = [[7 + row] * count for row in range(rows)]
            both = [milliseconds(step, cache, tokens) for step in (plain, graphs)]
            assert graphs.usable
            label = f"{rows}, a draft" if count > 1 else str(rows)
            print(f"| {name} | {label} | {both[0]:.1f} ms | {both[1]:.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
