"""Measure how far rollout power sampling is from p ** alpha, by its candidates and rollouts.

    python benchmarks/rollout_bias.py

The model is the tests' Markov chain over letters, whose distribution is enumerated. A row is the
total variation distance between the frequencies of sampled replies and p ** alpha: 0 is equal, 1 is
disjoint. The first row is samples of p ** alpha itself, so it shows what chance alone gives.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit/core"))

from markov_model import END, MarkovModel, sharpened

from urial_core import GenerationParameters, RolloutPower, UrialChat, load_prompt

START = "The letters:"
LENGTH = 6
SETTINGS = (
    ("1 (a low temperature)", 1, 1, LENGTH),
    ("4", 4, 1, LENGTH),
    ("4", 4, 4, LENGTH),
    ("4", 4, 8, LENGTH),
    ("4", 4, 4, 1),
    ("16", 16, 4, LENGTH),
    ("64", 64, 16, LENGTH),
)


def distance(found: Counter[str], expected: dict[str, float]) -> float:
    """Return the total variation distance of frequencies from probabilities."""
    size = found.total()
    return sum(abs(found[text] / size - expected.get(text, 0)) for text in {*found, *expected}) / 2


def main() -> None:
    """Sample with each setting, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the bias of rollout power sampling.")
    parser.add_argument("--alpha", type=float, default=4.0)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--block-size", type=int, default=1)
    arguments = parser.parse_args()

    expected = sharpened(LENGTH, arguments.alpha)
    drawn = Random(0).choices(  # noqa: S311 - no secret
        list(expected), list(expected.values()), k=arguments.samples
    )
    print("| candidates | rollouts | their tokens | distance | cost factor |")
    print("| --- | ---: | ---: | ---: | ---: |")
    print(f"| exact samples | | | {distance(Counter(drawn), expected):.2f} | |")
    for name, candidates, rollouts, tokens in SETTINGS:
        strategy = RolloutPower(
            alpha=arguments.alpha,
            block_size=arguments.block_size,
            candidates=candidates,
            rollouts=rollouts,
            rollout_tokens=tokens,
        )
        found, written, output = Counter[str](), 0, 0
        for seed in range(arguments.samples):
            chat = UrialChat(MarkovModel(START), load_prompt("short"), decoding=strategy)
            parameters = GenerationParameters(seed=seed, max_tokens=LENGTH)
            (reply,) = chat.reply([chat.plain_request(START, parameters)])
            text = reply.text + (END if reply.end.reason == "end_of_text" else "")
            found[text] += 1
            written += len(text)
            output += reply.end.usage.output_tokens if reply.end.usage else 0
        far, cost = distance(found, expected), output / written
        print(f"| {name} | {rollouts} | {tokens} | {far:.2f} | {cost:.0f} |", flush=True)


if __name__ == "__main__":
    main()
