"""Keep an engine in this process under mixed load, and compare every reply with the one alone.

First each request is answered alone: greedy and sampled texts, typed answers, choices, tool calls.
Then so many callers send them in random order for so long; some streams are closed early.
Print how many replies differed, and the memory and open files as time goes on. Of the greedy texts
without penalties that differed, print how much more probable the token of the reply alone was,
where the two part: rounding parts only where that is little. Exit with 1 if a reply failed, or
differed in float32.

    python benchmarks/load.py "torch float32" [--minutes 20] [--callers 16] [--options JSON]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import sys
import time
from collections import Counter
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from urial_core import (
    GenerationParameters,
    JsonSchema,
    Message,
    Reply,
    ReplyEnd,
    ReplyRequest,
    Tool,
    ToolUse,
    UrialChat,
    load_prompt,
)
from urial_core.backends.in_process import model_in_process
from urial_core.demo import demo_model_file

WORDS = ("tea", "glass", "bridges", "owls", "soap", "maps", "rain", "bread", "clocks", "salt")
PERSON = JsonSchema.of(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
)
VERDICT = JsonSchema.of({"enum": ["yes", "no", "unclear"]})
WEATHER = Tool.of(
    "get_weather",
    "Get the weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOSED_EARLY = 0.1
"""The share of replies whose stream is closed after a few pieces."""


def mixed_requests(chats: list[UrialChat]) -> list[tuple[UrialChat, ReplyRequest]]:
    found = list[tuple[UrialChat, ReplyRequest]]()
    for number, word in enumerate(WORDS):
        chat = chats[number % len(chats)]
        greedy = GenerationParameters(max_tokens=32, temperature=0.0)
        plain = replace(greedy, repetition_penalty=1.0, logprobs=20)
        sampled = GenerationParameters(max_tokens=32, temperature=0.8, seed=number)
        ask = Message("user", f"Tell me about {word}.")
        about = Message("user", f"Ann, who is {20 + number}, likes {word}. Who is that?")
        sure = Message("user", f"Can one buy {word}?")
        city = Message("user", f"How is the weather in {word.title()}ville?")
        found += [
            (chat, chat.request([ask], plain)),
            (chat, chat.request([Message("system", "Be brief."), ask], greedy)),
            (chat, chat.request([ask], sampled)),
            (chat, chat.request([about], greedy, response_format=PERSON)),
            (chat, chat.request([sure], greedy, response_format=VERDICT)),
            (chat, chat.request([city], greedy, tools=ToolUse((WEATHER,), "required"))),
        ]
    return found


def content(reply: Reply) -> object:
    """Return what must be equal: the text and the calls, without their random ids."""
    return reply.text, [(call.name, call.arguments) for call in reply.tool_calls], reply.end.reason


def margin(alone: Reply, mixed: Reply) -> float | None:
    """Return how many nats more probable the token of the reply alone was, where the two part."""
    for ours, other in zip(alone.logprobs, mixed.logprobs, strict=False):
        if ours.token != other.token:
            return ours.logprob - dict(ours.top).get(other.token, -math.inf)
    return None


def resources() -> str:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a plain count
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.0f} MiB, {files} open files"


async def run(engine: str, minutes: float, callers: int, options: dict[str, Any]) -> int:
    backend, _, dtype = engine.partition(" ")
    defaults = (
        {"backend": "transformers", "dtype": dtype}
        if backend == "torch"
        else {"backend": backend, "n_ctx": 2048, "n_parallel": callers}
    )
    model = model_in_process(str(demo_model_file()), {**defaults, **options})
    chats = [UrialChat(model, load_prompt(name)) for name in ("short", "instruction_only")]
    requests = mixed_requests(chats)
    alone = [(await chat.areply([request]))[0] for chat, request in requests]
    counts, margins, start = Counter[str](), list[float](), time.monotonic()
    print(f"{len(requests)} requests alone; {resources()}", flush=True)

    async def call(generator: random.Random) -> None:
        while time.monotonic() - start < 60 * minutes:
            number = generator.randrange(len(requests))
            chat, request = requests[number]
            if generator.random() < CLOSED_EARLY:
                async with aclosing(chat.astream(request)) as events:
                    left = generator.randrange(1, 6)
                    async for event in events:
                        left -= 1
                        if not left or isinstance(event, ReplyEnd):
                            break
                counts["closed"] += 1
                continue
            [reply] = await chat.areply([request])
            counts["answered"] += 1
            if content(reply) != content(alone[number]):
                counts["different"] += 1
                if (parted := margin(alone[number], reply)) is not None:
                    margins.append(round(parted, 2))

    async def report() -> None:
        while True:
            await asyncio.sleep(60)
            passed = (time.monotonic() - start) / 60
            print(f"{passed:.0f} min: {dict(counts)}; {resources()}", flush=True)

    reporter = asyncio.create_task(report())
    generators = (random.Random(number) for number in range(callers))  # noqa: S311 - no secrets
    await asyncio.gather(*map(call, generators))
    reporter.cancel()
    print(f"{engine}, {callers} callers, {minutes} minutes: {dict(counts)}; {resources()}")
    print(f"parted where the reply alone preferred its token by (nats): {sorted(margins)}")
    return int(counts["different"] > 0 and engine.endswith("float32"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", help='"torch float32", "torch bfloat16" or "llama.cpp"')
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--options", type=json.loads, default={}, help="backend_options, in JSON")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(run(**vars(arguments))))


if __name__ == "__main__":
    main()
