"""One measurement of one engine, in this process; print it as a line of JSON.

python benchmarks/engine/measurement.py ENGINE KIND '{"option": value}'
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from engines import Engine, MeasuredEngine, engine
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from urial_core import Prompt

TOPICS = ("tea", "glass", "bridges", "owls", "soap", "maps", "rain", "bread", "clocks", "salt")
WARM_UP = [HumanMessage("Hello there.")]
Result = dict[str, Any]


def question(number: int) -> list[BaseMessage]:
    return [HumanMessage(f"Tell me about {TOPICS[number % len(TOPICS)]}, part {number}.")]


async def stream(measured: MeasuredEngine, messages: list[BaseMessage]) -> tuple[int, list[float]]:
    """Stream one reply; return its tokens, and the time of each chunk."""
    tokens, times = 0, list[float]()
    async for count in measured.stream(messages):
        tokens += count
        times.append(time.perf_counter())
    return tokens, times


async def together(measured: MeasuredEngine, callers: int, start_number: int) -> Result:
    """Stream so many replies at the same time."""
    start = time.perf_counter()
    numbers = range(start_number, start_number + callers)
    replies = await asyncio.gather(*(stream(measured, question(number)) for number in numbers))
    taken = time.perf_counter() - start
    firsts = [times[0] - start for _, times in replies]
    return {"speed": sum(tokens for tokens, _ in replies) / taken, "firsts": firsts}


def callers(name: str, counts: list[int], rounds: int) -> Result:
    """Measure concurrent callers, behind a prompt prefix that is cached."""
    found = dict[int, list[Result]]()
    with engine(name) as measured:
        asyncio.run(stream(measured, WARM_UP))
        number = 0
        for count in counts:
            for _ in range(rounds):
                run = asyncio.run(together(measured, count, number))
                found.setdefault(count, []).append(run)
                number += count
        return {"callers": found, "peak_gib": _peak_gib()}


def decode(name: str) -> Result:
    """Measure the speed of one stream after its first token."""
    with engine(name) as measured:
        asyncio.run(stream(measured, WARM_UP))
        speeds = list[float]()
        for number in range(3):
            tokens, times = asyncio.run(stream(measured, question(number)))
            speeds.append((tokens - 1) / (times[-1] - times[0]))
    return {"speed": median(speeds)}


def first_tokens(name: str) -> Result:
    """Measure the time to the first token in several states of the cache, medians of three."""

    def taken(measured: MeasuredEngine, messages: list[BaseMessage]) -> float:
        start = time.perf_counter()
        _, times = asyncio.run(stream(measured, messages))
        return times[0] - start

    found = dict[str, float]()
    with engine(name, Prompt(name="bare", instruction="Answer.")) as bare:
        taken(bare, WARM_UP)
        found["bare question"] = median(taken(bare, question(n)) for n in range(3))
    with engine(name, prefix_on_disk=False) as measured:
        _loaded(measured)
        found["nothing cached"] = taken(measured, question(0))
        found["prefix cached"] = median(taken(measured, question(n)) for n in range(1, 4))
        for turns in (2, 10):
            times = list[float]()
            for start in (10, 40, 70):
                messages = list[BaseMessage]()
                for turn in range(turns):
                    messages += question(start + turn)
                    if turn < turns - 1:
                        messages.append(_reply(measured, messages))
                times.append(taken(measured, messages))
            found[f"turn {turns}"] = median(times)
    for _ in range(2):  # the first stores the prefix, if none has
        with engine(name) as measured:
            _loaded(measured)
            found["prefix on disk"] = taken(measured, question(0))
    return found


def pause(name: str) -> Result:
    """Measure the pauses of 8 streams before and while a prompt of 1,500 tokens arrives.

    Streams pause without it, too: text that may begin a delimiter waits for the next token. So the
    median pause says how long a step takes.
    """

    async def measure(measured: MeasuredEngine) -> tuple[list[float], list[float]]:
        streams = [asyncio.create_task(stream(measured, question(n))) for n in range(8)]
        await asyncio.sleep(2.5)
        long = [HumanMessage("word " * 1500 + "Why?")]
        arrived = time.perf_counter()
        _, times = await stream(measured, long)
        gaps = list[tuple[float, float]]()
        for _, chunks in await asyncio.gather(*streams):
            gaps += [(b - a, a) for a, b in itertools.pairwise(chunks)]
        usual = [gap for gap, at in gaps if at < arrived]
        during = [gap for gap, at in gaps if arrived <= at + gap and at <= times[0]]
        return usual, during

    with engine(name) as measured:
        asyncio.run(stream(measured, WARM_UP))
        usual, during = asyncio.run(measure(measured))
    return {
        "usual step": median(usual),
        "longest pause before": max(usual),
        "step meanwhile": median(during),
        "longest pause": max(during),
    }


def limits(_: str) -> Result:
    """Measure what the memory and the processor allow, and what the demo model needs."""
    import torch

    from urial_core.backends.transformers import TransformersModel
    from urial_core.demo import demo_model_file

    def fastest(job: Callable[[], object]) -> float:
        times = list[float]()
        for _ in range(5):
            start = time.perf_counter()
            job()
            times.append(time.perf_counter() - start)
        return min(times)

    numbers = torch.ones(1 << 27)  # 512 MiB
    square = torch.ones(2048, 2048)
    model = TransformersModel(demo_model_file(), dtype="float32")
    network = model.run(lambda engine: engine.model)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    rows = {layer.in_features: torch.ones(1, layer.in_features) for layer in layers}
    sizes = [layer.in_features * layer.out_features for layer in layers]
    with torch.inference_mode():
        return {
            "bandwidth": numbers.nbytes / fastest(numbers.sum),
            "flops": 2 * 2048**3 / fastest(lambda: square @ square),
            "read_bytes": 4 * sum(sizes),
            "matmul_weights": sum(sizes) - max(sizes),  # only the last token needs the head
            "linear_layers": fastest(lambda: [m(rows[m.in_features]) for m in layers]),
        }


def _loaded(measured: MeasuredEngine) -> None:
    assert isinstance(measured, Engine)
    measured.chat.llm.load()  # type: ignore[attr-defined] # one of ours


def _reply(measured: MeasuredEngine, messages: list[BaseMessage]) -> AIMessage:
    assert isinstance(measured, Engine)
    reply = measured.chat.invoke(messages, max_tokens=12)
    return AIMessage(reply.text)


def _peak_gib() -> float:
    """Return the most memory that this process had, or on a GPU what it had of that."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 2**20


def main() -> None:
    name, kind, options = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parent))
    kinds = {f.__name__: f for f in (callers, decode, first_tokens, pause, limits)}
    print(json.dumps(kinds[kind](name, **json.loads(options))))


if __name__ == "__main__":
    main()
