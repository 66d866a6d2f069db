r"""Measure the engines that run a base model in this process, and others on the same weights.

    python benchmarks/engine [--engines NAME ...] [--callers 1 4 16 64] [--rounds 2] [--quick]

Each engine is measured in a process of its own, as a user's is: nothing is set in its environment.
``http://...`` as a name is a server with a completions API, such as vLLM (see
``tests/servers/start_vllm.sh``).

Print Markdown tables: tokens per second of concurrent callers with the time to the first token
and the peak memory; the first token in several states of the cache; how callers and processes
disturb each other; the machine's limits, measured in the same run. Then a plot, as Mermaid text.

An engine on transformers can be followed by a dtype and a folder of other weights. On a GPU:

    python benchmarks/engine --quick --engines "torch bfloat16" "generate bfloat16" \
        "continuous_batching bfloat16"
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).parent
ENGINES = ("torch float32", "llama.cpp", "llama.cpp server", "generate", "ChatHuggingFace")
OURS = ("torch", "llama.cpp")
SLOW = {"generate": [1], "ChatHuggingFace": [1, 4]}
"""Engines that are measured with few callers: they compute the whole prompt for each."""

Result = dict[str, Any]


def measured(engine: str, kind: str, **options: Any) -> Result:
    """Measure in a process of its own."""
    return finished(started(engine, kind, **options))


def started(engine: str, kind: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "measurement.py"), engine, kind, json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> Result:
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{process.args} failed")
    result: Result = json.loads(output.splitlines()[-1])
    return result


def table(title: str, header: list[str], rows: Iterable[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def spread(values: list[float]) -> str:
    """Show a median with the lowest and highest value."""
    return f"{median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def callers_rows(engine: str, result: Result) -> list[list[str]]:
    rows = list[list[str]]()
    for count, runs in result["callers"].items():
        firsts = sorted(first for run in runs for first in run["firsts"])
        late = quantiles(firsts, n=20)[-1] if len(firsts) > 1 else firsts[0]
        speeds = spread([run["speed"] for run in runs])
        rows.append([engine, count, speeds, f"{median(firsts):.2f} s", f"{late:.2f} s"])
    rows[-1].append(f"{result['peak_gib']:.1f} GiB")
    return [[*row, ""][:6] for row in rows]


def plot(results: dict[str, Result], callers: list[int]) -> str:
    """Return a chart of tokens per second over callers, for Mermaid."""
    lines = [
        "```mermaid",
        "xychart-beta",
        '    x-axis "callers" [' + ", ".join(map(str, callers)) + "]",
        '    y-axis "tokens/s of all callers"',
    ]
    for engine, result in results.items():
        if [int(count) for count in result["callers"]] == callers:
            medians = [median(r["speed"] for r in runs) for runs in result["callers"].values()]
            points = ", ".join(f"{speed:.1f}" for speed in medians)
            lines.append(f'    line "{engine}" [{points}]')
    return "\n".join([*lines, "```"])


def sharing_row(engine: str) -> list[str]:
    """Measure one stream alone, two processes at once, and one beside a busy process."""
    alone = measured(engine, "decode")["speed"]
    pair = [started(engine, "decode") for _ in range(2)]
    both = [finished(process)["speed"] for process in pair]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    beside = measured(engine, "decode")["speed"]
    busy.kill()
    shares = [f"{speed:.1f} ({speed / alone:.0%})" for speed in (min(both), beside)]
    return [engine, f"{alone:.1f}", *shares]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only the first table")
    arguments = parser.parse_args()
    results = dict[str, Result]()

    def rows() -> Iterator[list[str]]:
        for engine in arguments.engines:
            counts = SLOW.get(engine.split()[0], arguments.callers)
            result = measured(engine, "callers", counts=counts, rounds=arguments.rounds)
            results[engine] = result
            yield from callers_rows(engine, result)

    header = ["engine", "callers", "tokens/s", "first token, median", "95 %", "peak memory"]
    table("Concurrent callers", header, rows())
    if not arguments.quick:
        ours = [engine for engine in arguments.engines if engine.split()[0] in OURS]
        ours = [engine for engine in ours if not engine.endswith("server")]
        found = {engine: measured(engine, "first_tokens") for engine in ours}
        states = next(iter(found.values()))
        table(
            "The first token",
            ["state", *found],
            [[state, *(f"{found[e][state]:.2f} s" for e in found)] for state in states],
        )
        pauses = {engine: measured(engine, "pause") for engine in ours}
        table(
            "8 streams while a prompt of 1,500 tokens arrives",
            ["engine", *next(iter(pauses.values())), "times a usual step"],
            [
                [e, *(f"{p[of]:.2f} s" for of in p), f"{p['step meanwhile'] / p['usual step']:.1f}"]
                for e, p in pauses.items()
            ],
        )
        table(
            "One stream, tokens/s, with other processes on the machine",
            ["engine", "alone", "each of two", "beside a busy process"],
            (sharing_row(engine) for engine in ours),
        )
        limits = measured("machine", "limits")
        table(
            "This machine's limits",
            [
                "memory read",
                "float32 matmul",
                "one float32 stream, if it only read the weights",
                "if it only did the linear layers",
                "prompt of 1,000 tokens",
            ],
            [
                [
                    f"{limits['bandwidth'] / 1e9:.1f} GB/s",
                    f"{limits['flops'] / 1e9:.0f} GFLOP/s",
                    f"{limits['bandwidth'] / limits['read_bytes']:.1f} tokens/s",
                    f"{1 / limits['linear_layers']:.1f} tokens/s",
                    f"{2 * 1000 * limits['matmul_weights'] / limits['flops']:.2f} s",
                ]
            ],
        )
    print(f"\n{plot(results, arguments.callers)}")


if __name__ == "__main__":
    main()
