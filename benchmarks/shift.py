"""Measure how many answer tokens per second token shift compares, against a naive loop.

The demo model in float32 answers questions under a preset; then the same answers are compared with
the base side in both ways, in one run, and the figures are checked against each other:

    compare_sides   one pass for an answer's tokens on each side, over cached prefixes, batched
    naive           a full forward pass for each answer and side, one by one, without a cache
    naive, answer's logits only   the same, but logits are computed for the answer's tokens only

    python benchmarks/shift.py [--answers 8] [--max-tokens 100] [--rounds 2] [--prompt default]

Print a Markdown table of the median rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from urial_core import GenerationParameters, Message, load_prompt
from urial_core.analysis.token_shift.sides import PromptedSide, base_request
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.scoring import AnswerPair, compare_sides
from urial_core.demo import demo_model_file

TOPICS = ("tea", "glass", "bridges", "owls", "soap", "maps", "rain", "bread", "clocks", "salt")

Ranks = list[list[int]]
"""The base ranks of each answer's tokens."""


def answers(model: TransformersModel, prompt: str, count: int, max_tokens: int) -> list[AnswerPair]:
    """Have the model answer questions under a preset."""
    side = PromptedSide(model, load_prompt(prompt))
    parameters = GenerationParameters(max_tokens=max_tokens, repetition_penalty=1.1)
    conversations = [
        [Message("user", f"Tell me about {TOPICS[n % len(TOPICS)]}, part {n}.")]
        for n in range(count)
    ]
    requests = [side.request(messages, parameters) for messages in conversations]
    return [
        AnswerPair(request, base_request(side, messages), completion.token_ids)
        for request, messages, completion in zip(
            requests, conversations, model.complete(requests), strict=True
        )
    ]


def batched(model: TransformersModel, pairs: Sequence[AnswerPair]) -> Ranks:
    found = compare_sides(model, model, pairs)
    return [[position.base.rank for position in positions] for positions in found]


def naive(raw: Any, model: TransformersModel, pairs: Sequence[AnswerPair], **options: Any) -> Ranks:
    """Compute the same figures with a full forward pass for each answer and side."""
    ranks = Ranks()
    for pair in pairs:
        tokens = torch.tensor(pair.answer)[:, None]
        sides = list[torch.Tensor]()
        for request in (pair.aligned, pair.base):
            ids = torch.tensor([[*model.tokenizer(request.prompt), *pair.answer]])
            kept = {name: len(tokens) + 1 for name in options}
            with torch.inference_mode():
                logits = model.run(lambda _, i=ids, k=kept: raw(i, use_cache=False, **k)).logits
            logprobs = logits[0, -len(tokens) - 1 : -1].log_softmax(-1)
            logprobs.topk(5)
            sides.append(logprobs)
        aligned, base = sides
        (aligned.exp() * (aligned - base)).sum(-1)
        for side in sides:
            rank = (side > side.gather(-1, tokens)).sum(-1) + 1
        ranks.append(rank.tolist())
    return ranks


def seconds(job: Callable[[], Ranks], rounds: int) -> tuple[float, Ranks]:
    times = list[float]()
    for _ in range(rounds):
        start = time.perf_counter()
        ranks = job()
        times.append(time.perf_counter() - start)
    return median(times), ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--prompt", default="default")
    options = parser.parse_args()
    model = TransformersModel(demo_model_file(), dtype="float32")
    pairs = answers(model, options.prompt, options.answers, options.max_tokens)
    tokens = sum(len(pair.answer) for pair in pairs)
    raw = model.run(lambda engine: engine.model)
    jobs: dict[str, Callable[[], Ranks]] = {
        "`compare_sides`": lambda: batched(model, pairs),
        "naive": lambda: naive(raw, model, pairs),
        "naive, answer's logits only": lambda: naive(raw, model, pairs, logits_to_keep=True),
    }
    results = {name: seconds(job, options.rounds) for name, job in jobs.items()}
    expected = results["naive"][1]
    print(f"{len(pairs)} answers, {tokens} tokens, {torch.get_num_threads()} threads\n")
    print("| | tokens/s | times as fast as naive | equal base ranks |")
    print("|---|---:|---:|---:|")
    for name, (taken, ranks) in results.items():
        pairs_of_ranks = [
            pair
            for row, other in zip(ranks, expected, strict=True)
            for pair in zip(row, other, strict=True)
        ]
        equal = sum(one == other for one, other in pairs_of_ranks)
        factor = results["naive"][0] / taken
        print(f"| {name} | {tokens / taken:.0f} | {factor:.1f} | {equal} of {tokens} |")


if __name__ == "__main__":
    main()
