"""Measure latency: time to first token, decoding speed, and batches.

Answer the same questions with the same weights in three variants, alternating, in one process:

    generate   transformers' `generate` on the whole prompt, as a user would call it
    no prefix  this engine on the question alone, without the prompt prefix
    urial      this engine on the whole prompt

    python benchmarks/latency.py [--model ID] [--dtype float32] [--dtype bfloat16]

Print medians as a Markdown table. The default model is the demo model of the `demo` extra.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from urial_core import GenerationParameters, Message, Prompt, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel
from urial_core.demo import demo_model_file

TOPICS = (
    "tea",
    "glass",
    "bridges",
    "owls",
    "soap",
    "maps",
    "rain",
    "bread",
    "clocks",
    "salt",
    "kites",
    "moss",
    "paper",
    "violins",
    "canals",
    "honey",
)
REPLY_TOKENS = 48


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default=None)
    options.add_argument("--dtype", action="append")
    options.add_argument("--rounds", type=int, default=9)
    arguments = options.parse_args()
    model = arguments.model or str(demo_model_file())
    machine = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{machine}, medians of {arguments.rounds} rounds\n")
    print(
        "| dtype | first token: generate | no prefix | urial | generate / urial "
        "| urial / no prefix | decoding: generate | urial | urial / generate "
        "| one | batch of 16 | batch / one |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for dtype in arguments.dtype or ["float32", "bfloat16"]:
        print(row(model, dtype, arguments.rounds), flush=True)


def row(model_id: str, dtype: str, rounds: int) -> str:
    urial = TransformersModel(model_id, dtype=dtype)
    urial.load()
    engine = urial._ready_engine()  # noqa: SLF001 - generate must use the same weights
    model, tokenize = engine.model, urial.tokenizer
    tokenizer = urial._tokenization()._tokenizer  # noqa: SLF001 - as above
    no_prefix = TransformersModel(model, tokenizer, prefix_cache_bytes=0)
    default = load_prompt("default")
    empty = Prompt(name="empty", instruction="-", verbatim="")
    parameters = GenerationParameters(max_tokens=REPLY_TOKENS, repetition_penalty=1.0)

    def request(prompt: Prompt, number: int, engine: TransformersModel) -> Any:
        text = f"Tell me about {TOPICS[number % len(TOPICS)]}, part {number}."
        return UrialChat(engine, prompt).request([Message("user", text)], parameters)

    def generate(tokens: int, number: int) -> float:
        ours = model.config._attn_implementation  # noqa: SLF001 - it has no public name
        model.set_attn_implementation("sdpa")  # as transformers loads it
        try:
            return generation_time(tokens, number)
        finally:
            model.set_attn_implementation(ours)

    def generation_time(tokens: int, number: int) -> float:
        ids = torch.tensor([tokenize(request(default, number, urial).prompt)])
        return seconds(
            lambda: model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
            )
        )

    def first_token(engine: TransformersModel, prompt: Prompt, number: int) -> float:
        stream = engine.stream(request(prompt, number, engine))
        taken = seconds(lambda: next(stream))
        stream.close()
        return taken

    def decode(number: int) -> float:
        """Return the tokens per second after the first."""
        stream = urial.stream(request(default, number, urial))
        next(stream)
        start = time.perf_counter()
        written = sum(1 for _ in stream)
        return written / (time.perf_counter() - start)

    def throughput(rows: int, number: int) -> float:
        requests = [request(default, number + index, urial) for index in range(rows)]
        start = time.perf_counter()
        written = sum(c.usage.output_tokens for c in urial.complete(requests) if c.usage)
        return written / (time.perf_counter() - start)

    first_token(urial, default, 0)
    first_token(no_prefix, empty, 0)
    times: dict[str, list[float]] = {}
    number = 1
    for _ in range(rounds):
        number += 16
        measured = {
            "generate": generate(1, number),
            "no prefix": first_token(no_prefix, empty, number + 1),
            "urial": first_token(urial, default, number + 2),
            "decode": decode(number + 3),
            "one": throughput(1, number + 4),
        }
        for name, value in measured.items():
            times.setdefault(name, []).append(value)
    for _ in range(max(rounds // 3, 3)):
        number += 32
        times.setdefault("generate decode", []).append(
            (REPLY_TOKENS - 1)
            / max(generate(REPLY_TOKENS, number) - statistics.median(times["generate"]), 1e-9)
        )
        times.setdefault("batch", []).append(throughput(16, number))
    m = {name: statistics.median(values) for name, values in times.items()}
    cells = [
        dtype,
        *(f"{1000 * m[name]:.0f} ms" for name in ("generate", "no prefix", "urial")),
        f"{m['generate'] / m['urial']:.1f}",
        f"{m['urial'] / m['no prefix']:.2f}",
        *(f"{m[name]:.1f} tok/s" for name in ("generate decode", "decode")),
        f"{m['decode'] / m['generate decode']:.2f}",
        *(f"{m[name]:.1f} tok/s" for name in ("one", "batch")),
        f"{m['batch'] / m['one']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
