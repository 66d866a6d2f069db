"""Measure how busy batches keep a server: tokens per second of `batch`, `abatch` and the bare API.

    python benchmarks/server_batches.py [--server URL] [--questions 48]

Send the same questions, with replies of different lengths, 1, 4 and 8 at a time. *Bare* is a client
that sends the same payloads and does nothing else. Without --server, start a llama.cpp server with
8 slots and the demo model. Print medians as a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from langchain_urial import ChatUrial
from urial_core import GenerationParameters, Message, compose, load_prompt
from urial_core.backends.completions_server import (
    CompletionsServerModel,
    completion_payload,
    reply_of,
)

SCRIPT = Path(__file__).parents[1] / "tests" / "servers" / "llama_server.py"
PROMPT = load_prompt("short")
CONCURRENCIES = (1, 4, 8)
TASKS = (
    "What is {0} plus {0}?",
    "Write a short poem about the number {0}.",
    "Is {0} an even number?",
    "List five facts about the number {0}.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server")
    parser.add_argument("--questions", type=int, default=48)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.server:
        asyncio.run(measure(options.server, options))
        return
    with demo_server() as url:
        asyncio.run(measure(url, options))


async def measure(url: str, options: argparse.Namespace) -> None:
    model = CompletionsServerModel(url, timeout=600.0)
    await model.awarm(PROMPT)
    questions = [TASKS[n % len(TASKS)].format(n + 10) for n in range(options.questions)]
    chat = ChatUrial(llm=model, prompt=PROMPT, max_tokens=options.max_tokens)
    methods: dict[str, Callable[[int], Awaitable[int]]] = {
        "bare": lambda most: bare(url, model, questions, options.max_tokens, most),
        "`batch`": lambda most: asyncio.to_thread(
            lambda: written(chat.batch(questions, {"max_concurrency": most}))
        ),
        "`abatch`": lambda most: awritten(chat, questions, most),
    }
    speeds: dict[tuple[int, str], list[float]] = {}
    for _ in range(options.rounds):
        for most in CONCURRENCIES:
            for name, method in methods.items():
                start = time.perf_counter()
                tokens = await method(most)
                speeds.setdefault((most, name), []).append(tokens / (time.perf_counter() - start))
    print(f"| concurrent requests | {' | '.join(methods)} |\n| --- |{' --- |' * len(methods)}")
    for most in CONCURRENCIES:
        row = (f"{statistics.median(speeds[most, name]):.0f}" for name in methods)
        print(f"| {most} | {' | '.join(row)} |")


async def bare(
    url: str, model: CompletionsServerModel, questions: list[str], max_tokens: int, most: int
) -> int:
    server = model.server()
    free = asyncio.Semaphore(most)

    async def output_tokens(question: str) -> int:
        parameters = GenerationParameters(max_tokens=max_tokens)
        request = compose(PROMPT, [Message("user", question)], parameters)
        payload = completion_payload(request, server.model, server.dialect)
        async with free:
            response = await client.post(f"{url}/completions", json=payload)
        reply = reply_of(response.json(), request, server.dialect)
        return reply.end.usage.output_tokens if reply.end.usage else 0

    async with httpx.AsyncClient(timeout=600.0) as client:
        return sum(await asyncio.gather(*map(output_tokens, questions)))


def written(replies: list) -> int:
    return sum(reply.usage_metadata["output_tokens"] for reply in replies)


async def awritten(chat: ChatUrial, questions: list[str], most: int) -> int:
    return written(await chat.abatch(questions, {"max_concurrency": most}))


@contextmanager
def demo_server() -> Generator[str]:
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    command = [sys.executable, str(SCRIPT), "--slots", "8", "--window", "1024"]
    process = subprocess.Popen(
        [*command, "--threads", threads],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        yield f"{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main()
