"""Write a model with the shape of Gemma 3 4B and random weights, to measure speed on a GPU.

    python benchmarks/engine/random_weights.py FOLDER
    python benchmarks/engine --engines "torch bfloat16 FOLDER" "generate bfloat16 FOLDER"

What a step costs depends on the shapes alone. The tokenizer is the demo model's.
"""

from __future__ import annotations

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3TextConfig

from urial_core.backends.transformers.loading import converted_gguf, default_device
from urial_core.demo import demo_model_file

SHAPE = {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 34,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 1024,
}


def main() -> None:
    folder = sys.argv[1]
    torch.manual_seed(0)
    with default_device():
        config = Gemma3TextConfig(vocab_size=262144, **SHAPE)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    demo = converted_gguf(demo_model_file(), torch.bfloat16)
    AutoTokenizer.from_pretrained(demo).save_pretrained(folder)


if __name__ == "__main__":
    main()
