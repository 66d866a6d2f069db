r"""Measure what decoding strategies cost beside one sample: seconds and tokens.

    python benchmarks/decoding_cost.py --backend transformers --max-tokens 64

Strategies alternate in one process, over the same cached prompt; the medians are printed.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from urial_core import BestOfN, GenerationParameters, Message, PowerSampling, UrialChat, load_prompt
from urial_core.backends.in_process import BACKENDS, model_in_process
from urial_core.demo import demo_model_file
from urial_core.strategies import DecodingStrategy

QUESTION = "Describe a long walk through an old town in great detail, please."
STRATEGIES: dict[str, DecodingStrategy | None] = {
    "one sample": None,
    "best of 4": BestOfN(n=4, tolerance=-1),
    "best of 8, rounds of 4": BestOfN(n=8, tolerance=-1),
    "best of 8, one round": BestOfN(n=8, round_size=8, tolerance=-1),
    "best of 8, relevance": BestOfN(n=8, round_size=8, score="relevance", tolerance=-1),
    "power": PowerSampling(),
}


def main() -> None:
    """Run the strategies that the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure what decoding strategies cost.")
    parser.add_argument("--backend", choices=BACKENDS[1:], default="transformers")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="only these strategies, beside one sample")
    arguments = parser.parse_args()

    model = model_in_process(str(demo_model_file()), {"backend": arguments.backend})
    prompt = load_prompt()
    # Hot enough that replies reach the limit: all are equally long then.
    parameters = GenerationParameters(max_tokens=arguments.max_tokens, temperature=1.3, seed=1)
    asked = [Message("user", QUESTION)]
    wanted = {
        name: strategy
        for name, strategy in STRATEGIES.items()
        if strategy is None or not arguments.only or name in arguments.only
    }
    seconds = {name: list[float]() for name in wanted}
    tokens = dict[str, int]()
    for _ in range(arguments.rounds + 1):
        for name, strategy in wanted.items():
            chat = UrialChat(model, prompt, decoding=strategy)
            begun = time.perf_counter()
            (reply,) = chat.reply([chat.request(asked, parameters)])
            seconds[name].append(time.perf_counter() - begun)
            tokens[name] = reply.end.usage.output_tokens if reply.end.usage else 0
    one, *_ = wanted
    print("| | seconds | times one sample | tokens |\n| --- | ---: | ---: | ---: |")
    for name, times in seconds.items():
        middle, base = median(times[1:]), median(seconds[one][1:])  # the first ones warm up
        print(f"| {name} | {middle:.2f} | {middle / base:.2f} | {tokens[name]} |")


if __name__ == "__main__":
    main()
