"""Measure constrained decoding: the cost of a JSON schema per token, and what forced tokens save.

The transformers backend continues one prompt in three variants, alternating step by step:

    free         without a constraint
    masked       constrained to a schema, every token sampled among those allowed
    constrained  constrained to a schema, as the engine does it: forced tokens are not sampled, and
                 several of them are read in one pass

    python benchmarks/constraint.py [--model ID] [--dtype float32] [--dtype bfloat16]

Print the median time of a step as a Markdown table, and how many tokens a constrained step
generates. The default model is the demo model of the `demo` extra.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch

from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.transformers import TransformersModel, json_grammar
from urial_core.completion import CompletionRequest
from urial_core.demo import demo_model_file
from urial_core.structured.constraints import JsonSchema

SHORT = {"type": "string", "maxLength": 20}
TOOLS = {
    "get_weather": ("city", "unit"),
    "send_mail": ("recipient", "subject", "body"),
    "find_route": ("start", "destination"),
}


def record(**properties: Any) -> dict[str, Any]:
    """Return a schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "a text": record(text={"type": "string", "minLength": 200, "maxLength": 250}),
    "a call of one of three tools": {
        "anyOf": [
            record(name={"const": name}, arguments=record(**dict.fromkeys(arguments, SHORT)))
            for name, arguments in TOOLS.items()
        ]
    },
}
TOKENS = 100


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default=None)
    options.add_argument("--dtype", action="append")
    options.add_argument("--rounds", type=int, default=9)
    arguments = options.parse_args()
    model_id = arguments.model or str(demo_model_file())
    machine = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{machine}, medians of the steps of {arguments.rounds} rounds\n")
    print(
        "| dtype | schema | free | masked | constrained | tokens a step "
        "| masked / free | constrained / free, a token |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for dtype in arguments.dtype or ["float32", "bfloat16"]:
        model = TransformersModel(model_id, dtype=dtype)
        model.load()
        for name, schema in SCHEMAS.items():
            print(row(model, dtype, name, schema, arguments.rounds), flush=True)


def row(
    model: TransformersModel, dtype: str, name: str, schema: dict[str, Any], rounds: int
) -> str:
    free = UrialChat(model, load_prompt("short")).request(
        [Message("user", "Write a letter to Ann in Berlin about the weather there.")],
        GenerationParameters(max_tokens=TOKENS, repetition_penalty=1.0),
    )
    constrained = replace(free, constraint=JsonSchema.of(schema))
    steps: tuple[list[float], ...] = ([], [], [])
    tokens = 0.0
    for number in range(rounds + 1):
        variants = [
            Variant(model, free, nullcontext),
            Variant(model, constrained, no_forced_tokens),
            Variant(model, constrained, nullcontext),
        ]
        order = variants[number % 3 :] + variants[: number % 3]
        while sum(variant.step() for variant in order):
            pass
        if number:  # the first round is for warming up
            for taken, variant in zip(steps, variants, strict=True):
                taken.extend(variant.steps)
        tokens = variants[2].tokens / len(variants[2].steps)
    free_step, masked_step, step = (statistics.median(taken) for taken in steps)
    cells = [dtype, name, *(f"{1000 * taken:.1f} ms" for taken in (free_step, masked_step, step))]
    ratios = (tokens, masked_step / free_step, step / tokens / free_step)
    return f"| {' | '.join(cells)} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |"


class Variant:
    """A stream, and the times of its steps after the first."""

    def __init__(
        self,
        model: TransformersModel,
        request: CompletionRequest,
        around: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.steps = list[float]()
        self.tokens = 0
        self._around = around
        self._stream = model.stream(request)
        self._written = self._next()

    def step(self) -> bool:
        """Run one step; return whether the stream had one."""
        start = time.perf_counter()
        written = self._next()
        if written:
            self.steps.append(time.perf_counter() - start)
            self.tokens += written - self._written
            self._written = written
        return bool(written)

    def _next(self) -> int:
        with self._around():
            chunk = next(self._stream, None)
        return chunk.usage.output_tokens if chunk and chunk.usage else 0


@contextmanager
def no_forced_tokens() -> Generator[None]:
    """Make the grammar report no forced tokens."""
    with patch.object(json_grammar.JsonText, "_forced", staticmethod(lambda _: [])):
        yield


if __name__ == "__main__":
    main()
