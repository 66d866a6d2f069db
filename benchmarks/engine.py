"""Measure how many tokens per second concurrent callers get, and when each gets its first.

Every caller streams one reply through LangChain's ``astream``, all at the same time, from the same
weights and with the same prompt prefix, which is cached beforehand:

    torch float32, bfloat16   the transformers engine in this process
    llama.cpp                 llama.cpp in this process
    URL                       a completions server (vLLM, llama.cpp), by `--endpoint`

    python benchmarks/engine.py [--callers 1 4 16] [--rounds 3] [--dtype float32] [--endpoint URL]

Print a Markdown table of medians (with the lowest and highest round), this process's peak memory
after each engine, and the most tokens per second that one caller could get: the memory bandwidth
measured here over the bytes of the weights.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from langchain_urial import ChatUrial
from urial_core.backends.in_process import model_in_process
from urial_core.demo import demo_model_file

REPLY_TOKENS = 48
TOPICS = ("tea", "glass", "bridges", "owls", "soap", "maps", "rain", "bread", "clocks", "salt")


@dataclass(frozen=True)
class Run:
    """One round: tokens per second of all callers, and each one's seconds to the first token."""

    speed: float
    first_tokens: tuple[float, ...]


async def stream(chat: ChatUrial, number: int) -> tuple[int, float]:
    """Stream one reply; return its tokens and the time of its first."""
    question = f"Tell me about {TOPICS[number % len(TOPICS)]}, part {number}."
    tokens, first = 0, 0.0
    async for chunk in chat.astream(question):
        first = first or time.perf_counter()
        if chunk.usage_metadata:
            tokens += chunk.usage_metadata["output_tokens"]
    return tokens, first


async def run(chat: ChatUrial, callers: int, start_number: int) -> Run:
    start = time.perf_counter()
    numbers = range(start_number, start_number + callers)
    replies = await asyncio.gather(*(stream(chat, number) for number in numbers))
    taken = time.perf_counter() - start
    firsts = tuple(first - start for _, first in replies)
    return Run(sum(tokens for tokens, _ in replies) / taken, firsts)


def rows(name: str, chat: ChatUrial, callers: Sequence[int], rounds: int) -> list[str]:
    asyncio.run(run(chat, 1, 0))  # reads the prompt prefix
    number, lines = 1, list[str]()
    for count in callers:
        runs = list[Run]()
        for _ in range(rounds):
            runs.append(asyncio.run(run(chat, count, number)))
            number += count
        speeds = [one.speed for one in runs]
        firsts = sorted(first for one in runs for first in one.first_tokens)
        late = quantiles(firsts, n=20)[-1] if len(firsts) > 1 else firsts[0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        cells = [
            name,
            str(count),
            f"{median(speeds):.1f} ({min(speeds):.1f}-{max(speeds):.1f})",
            f"{median(firsts):.2f} s",
            f"{late:.2f} s",
            f"{peak:.1f} GiB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def memory_bandwidth() -> float:
    """Return the bytes per second that all threads together read."""
    import torch

    numbers = torch.ones(1 << 27)  # 512 MiB
    times = list[float]()
    for _ in range(5):
        start = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - start)
    return numbers.nbytes / min(times)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", default=None)
    options.add_argument("--callers", type=int, nargs="+", default=[1, 4, 16])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--dtype", action="append", default=[])
    options.add_argument("--endpoint", action="append", default=[])
    options.add_argument("--no-llama-cpp", action="store_true")
    arguments = options.parse_args()
    file = arguments.model or str(demo_model_file())
    settings = {
        "max_tokens": REPLY_TOKENS,
        "temperature": 0.0,
        "repetition_penalty": 1.0,
        # Replies are to be equally long.
        "stop_at_template": False,
    }
    print("| engine | callers | tokens/s | first token, median | 95 % | peak memory |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for url in arguments.endpoint:
        rows(url, ChatUrial.from_endpoint(url, **settings), arguments.callers, arguments.rounds)
    limits = list[str]()
    for dtype in arguments.dtype or ["float32"]:
        model = model_in_process(file, {"backend": "transformers", "dtype": dtype})
        chat = ChatUrial(llm=model, **settings)
        rows(f"torch {dtype}", chat, arguments.callers, arguments.rounds)
        read = sum(p.numel() * (2 if dtype == "bfloat16" else 4) for p in _parameters(model))
        limits.append(f"{dtype} {memory_bandwidth() / read:.1f}")
        del model, chat
        gc.collect()
    if not arguments.no_llama_cpp and file.endswith(".gguf"):
        model = model_in_process(file, {"backend": "llama.cpp"})
        rows("llama.cpp", ChatUrial(llm=model, **settings), arguments.callers, arguments.rounds)
    print(f"\nOne caller's limit by memory bandwidth, tokens/s: {', '.join(limits)}")


def _parameters(model: Any) -> list[Any]:
    """Return the weights that each token reads: all but the embedding, of which it reads a row."""
    engine = model._ready_engine()  # noqa: SLF001 - the weights have no public name
    network = engine.model
    embedding = network.get_input_embeddings().weight
    head = network.get_output_embeddings().weight
    others = [p for p in network.parameters() if p is not embedding and p is not head]
    return [*others, embedding]


if __name__ == "__main__":
    main()
