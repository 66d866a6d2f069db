"""What a JSON schema costs for each token, and what the tokens that it forces save.

The same engine continues the same pages, in turn, in one process:

    free         without a constraint
    masked       held to a schema, every token chosen among those allowed
    constrained  held to a schema, as the engine does it: what must follow is not chosen, and read
                 in passes of several tokens

    python benchmarks/constraint.py [--model ID] [--dtype float32] [--dtype bfloat16]

Prints medians of the times for a token as a Markdown table. Without --model, the demo model of the
`demo` extra is used.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read by libgomp when torch is imported

import argparse
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel, json_grammar
from urial_core.constraint import JsonSchema
from urial_core.demo import demo_model_file
from urial_core.request import Request

TEXT = {"type": "string", "minLength": 150}
SCHEMAS: dict[str, dict[str, Any]] = {
    "one long text": {
        "type": "object",
        "properties": {"text": TEXT},
        "required": ["text"],
        "additionalProperties": False,
    },
    "one of three tools": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {
                        "name": {"const": name},
                        "arguments": {
                            "type": "object",
                            "properties": {key: {"type": "string"} for key in arguments},
                            "required": arguments,
                            "additionalProperties": False,
                        },
                    },
                    "required": ["name", "arguments"],
                    "additionalProperties": False,
                }
                for name, arguments in (
                    ("get_weather", ["city", "unit"]),
                    ("send_mail", ["recipient", "subject", "body"]),
                    ("find_route", ["start", "destination"]),
                )
            ]
        },
    },
}
TOKENS = 64


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default=None)
    options.add_argument("--dtype", action="append")
    options.add_argument("--rounds", type=int, default=9)
    arguments = options.parse_args()
    model_id = arguments.model or str(demo_model_file())
    machine = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{machine}, medians of {arguments.rounds} rounds, {TOKENS} tokens each\n")
    print("| dtype | schema | free | masked | constrained | masked / free | constrained / free |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for dtype in arguments.dtype or ["float32", "bfloat16"]:
        model = TransformersModel(model_id, dtype=dtype)
        model.load()
        for name, schema in SCHEMAS.items():
            print(row(model, dtype, name, schema, arguments.rounds), flush=True)


def row(
    model: TransformersModel, dtype: str, name: str, schema: dict[str, Any], rounds: int
) -> str:
    request = UrialChat(model, load_prompt("short")).request(
        [Message("user", "Write a letter to Ann, Berlin, about the weather. Use JSON.")],
        GenerationParameters(max_tokens=TOKENS, repetition_penalty=1.0),
    )
    constrained = replace(request, constraint=JsonSchema.of(schema))
    times: dict[str, list[float]] = {"free": [], "masked": [], "constrained": []}
    for number in range(rounds + 1):
        measured = {"free": per_token(model, request)}
        with nothing_forced():
            measured["masked"] = per_token(model, constrained)
        measured["constrained"] = per_token(model, constrained)
        for way, taken in measured.items():
            if number:  # the first round sets everything up
                times[way].append(taken)
    free, masked, whole = (statistics.median(times[way]) for way in times)
    cells = [dtype, name, *(f"{1000 * taken:.1f} ms" for taken in (free, masked, whole))]
    return f"| {' | '.join(cells)} | {masked / free:.2f} | {whole / free:.2f} |"


def per_token(model: TransformersModel, request: Request) -> float:
    """Seconds for each token behind the first step's."""
    stream = model.stream(request)
    usage = next(stream).usage
    assert usage
    before = usage.output_tokens
    start = time.perf_counter()
    for chunk in stream:
        usage = chunk.usage or usage
    return (time.perf_counter() - start) / (usage.output_tokens - before)


@contextmanager
def nothing_forced() -> Generator[None]:
    """Within it, the grammar never says that a token must follow."""
    with patch.object(json_grammar.JsonText, "_forced", staticmethod(lambda _: [])):
        yield


if __name__ == "__main__":
    main()
