"""Measure decoding strategies on questions whose answers can be checked.

    python benchmarks/decoding.py answers.jsonl
    python benchmarks/decoding.py answers.jsonl --questions 10 --methods greedy rules --show
    python benchmarks/decoding.py answers.jsonl --methods greedy --nudge-with http://127.0.0.1:8084/v1

``decoding_questions.jsonl`` has 100 questions: arithmetic, extraction from a passage, a given
format, facts of a given context, and Python functions, which a test runs in a process of its own
for at most five seconds. The demo model answers under a preset, on transformers in float32. Each
answer is a row of the file, and running again adds what is missing. ``--nudge-with`` adds nudging
by the chat model of a server, and that model's own answers.

- passed: correct answers, with the 95 % interval of their share (Wilson).
- gained, lost: questions that pass here and not with greedy decoding, and the other way round.
- tokens, seconds: for a question, as multiples of greedy decoding's. Several questions are answered
  at the same time (``--batch``), and the seconds are their common time, divided by their number.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scipy.stats import binomtest

from urial_core import (
    BestOfN,
    GenerationParameters,
    Message,
    Nudging,
    PowerSampling,
    Reply,
    RolloutPower,
    UrialChat,
    load_prompt,
)
from urial_core.analysis.methods import MethodReply, chat_model_method
from urial_core.analysis.questions import Question
from urial_core.analysis.records import RecordFile
from urial_core.backends.in_process import model_in_process
from urial_core.demo import demo_model_file
from urial_core.strategies import DecodingStrategy

QUESTIONS = Path(__file__).with_name("decoding_questions.jsonl")
MAX_TOKENS = {"arithmetic": 16, "extraction": 24, "format": 24, "context": 24, "code": 48}
"""Tokens of a reply, by the question's kind."""
TEST_SECONDS = 5
LIMITS = (
    "import resource as r; r.setrlimit(r.RLIMIT_CPU, (5, 5)); "
    "r.setrlimit(r.RLIMIT_AS, (1 << 30,) * 2); r.setrlimit(r.RLIMIT_FSIZE, (0, 0))\n"
)
"""Run before a model's code: it may take five seconds and 1 GiB, and write no file."""


def compared(text: str) -> tuple[str, ...]:
    """Return what has to agree in two answers: their numbers, or else their words."""
    text = text.casefold()
    return tuple(re.findall(r"-?\d+", text) or re.findall(r"\w+", text))


@dataclass(frozen=True)
class Way:
    """A strategy and parameters beside those of every question; or a chat model that answers."""

    decoding: DecodingStrategy | None
    parameters: Mapping[str, Any]
    chat_model: Any = None

    def described(self) -> str:
        """Return what decides the answers, the same in any process."""
        text = f"{self.decoding}, {self.parameters}, {type(self.chat_model).__name__}"
        return re.sub(r" at 0x[0-9a-f]+", "", text)


METHODS = {
    "greedy": Way(None, {}),
    "temperature": Way(None, {"temperature": 0.7}),
    "best of 4, log-probability": Way(BestOfN(n=4), {}),
    "best of 4, agreement": Way(BestOfN(n=4, score="agreement", key=compared), {}),
    "power": Way(PowerSampling(), {}),
    "rollout power": Way(RolloutPower(rollouts=2, rollout_tokens=8), {}),
    "DRY": Way(None, {"dry_multiplier": 2.0}),
    "rules": Way(
        None,
        {
            "end_bias": 4.0,
            "repetition_penalty": 1.2,
            "banned_openers": ("As an AI", "I'm sorry", "I am sorry", "Sure"),
        },
    ),
}


@dataclass(frozen=True)
class Row:
    """One answer.

    Attributes:
        method: One of ``METHODS`` or of ``nudging``.
        question: The question's id.
        reply: The reply's text.
        tokens: Tokens that were generated for it, those of discarded samples included.
        seconds: Its share of its batch's time.
    """

    method: str
    question: str
    reply: str
    tokens: int
    seconds: float


def passes(question: Mapping[str, Any], reply: str) -> bool:
    """Return whether a reply is correct."""
    if "number" in question:
        numbers = re.findall(r"-?\d+(?:\.\d+)?", reply)
        return bool(numbers) and float(numbers[-1]) == question["number"]
    if "contains" in question:
        return any(
            re.search(rf"(?<!\w){re.escape(answer)}(?!\d)", reply, re.IGNORECASE)
            for answer in question["contains"]
        )
    if "matches" in question:
        return re.fullmatch(question["matches"], reply.strip()) is not None
    return runs(code_of(reply), question["test"])


def code_of(reply: str) -> str:
    """Return a reply's first code block; or else its functions, without the prose around them."""
    if found := re.search(r"```\w*\n(.*?)(?:```|\Z)", reply, re.DOTALL):
        return found[1]
    return "\n".join(re.findall(r"^def .*(?:\n(?:[ \t].*)?)*", reply, re.MULTILINE))


def runs(code: str, test: str) -> bool:
    """Return whether a test of some code passes, in a process of its own."""
    with TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", f"{LIMITS}{code}\n{test}"],
                cwd=folder,
                env={},
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=TEST_SECONDS,
                check=False,
            )
        except (subprocess.TimeoutExpired, ValueError):  # ValueError: a null character
            return False
    return done.returncode == 0


def nudging(url: str) -> dict[str, Way]:
    """Return nudging by a server's chat model, in both forms, and that model by itself."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=url, api_key="none", model="any", temperature=0)
    brief = ChatOpenAI(base_url=url, api_key="none", model="any", temperature=0, max_tokens=24)
    return {
        "nudge": Way(Nudging(nudge_with=brief), {}),
        "nudge, opener": Way(Nudging(nudge_with=brief, threshold=0, opener=8), {}),
        "the nudging model": Way(None, {}, model),
    }


def answer(
    chat: UrialChat, question: Mapping[str, Any], way: Way, seed: int
) -> Reply | MethodReply:
    """Answer one question."""
    limit = MAX_TOKENS[question["kind"]]
    if way.chat_model is not None:
        alone = chat_model_method(way.chat_model.bind(max_tokens=limit))
        return alone.reply(Question("", ()), [Message("user", question["question"])])
    parameters = GenerationParameters(max_tokens=limit, seed=seed, **way.parameters)
    (reply,) = chat.reply([chat.request([Message("user", question["question"])], parameters)])
    return reply


def interval(passed: int, total: int) -> str:
    """Return a share with its 95 % interval."""
    ends = binomtest(passed, total).proportion_ci(method="wilson")
    return f"{passed}/{total} ({ends.low:.0%}-{ends.high:.0%})"


def report(
    rows: Sequence[Row],
    methods: Iterable[str],
    questions: Sequence[Mapping[str, Any]],
    *,
    show: bool,
) -> None:
    """Print the table, over the questions that every method in it has answered."""
    by_method = {
        method: {row.question: row for row in rows if row.method == method} for method in methods
    }
    by_method = {method: found for method, found in by_method.items() if found}
    asked = [q for q in questions if all(q["id"] in found for found in by_method.values())]
    passed = {
        method: {q["id"]: passes(q, found[q["id"]].reply) for q in asked}
        for method, found in by_method.items()
    }
    kinds = [kind for kind in MAX_TOKENS if any(q["kind"] == kind for q in asked)]
    heads = ["", "passed", "gained, lost", *kinds, "tokens", "seconds"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * 3}{' ---: |' * (len(heads) - 3)}")
    base, *_ = by_method
    for method in by_method:
        mine, other = passed[method], passed[base]
        gained = sum(mine[q["id"]] > other[q["id"]] for q in asked)
        lost = sum(mine[q["id"]] < other[q["id"]] for q in asked)
        cells = [method, interval(sum(mine.values()), len(asked)), f"+{gained} -{lost}"]
        for kind in kinds:
            own = [mine[q["id"]] for q in asked if q["kind"] == kind]
            cells.append(f"{sum(own)}/{len(own)}")
        for name in ("tokens", "seconds"):
            ours, theirs = (
                sum(getattr(by_method[one][q["id"]], name) for q in asked) for one in (method, base)
            )
            cells.append(f"{ours / theirs:.1f}")
        print(f"| {' | '.join(cells)} |")
    for question in asked if show else ():
        print(f"\n== {question['id']}: {question['question']}")
        for method, found in by_method.items():
            mark = "+" if passed[method][question["id"]] else "-"
            print(f"{mark} {method}: {found[question['id']].reply!r}")


def main() -> None:
    """Answer what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="Measure decoding strategies.")
    parser.add_argument("answers", type=Path, help="the file of answers, *.jsonl")
    parser.add_argument("--questions", type=int, default=100, help="how many, of all kinds alike")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--nudge-with", metavar="URL", help="a server with a chat endpoint")
    parser.add_argument("--prompt", default="default", help="a preset")
    parser.add_argument("--batch", type=int, default=10, help="questions answered together")
    parser.add_argument("--show", action="store_true", help="also print the answers")
    arguments = parser.parse_args()

    questions = [json.loads(line) for line in QUESTIONS.read_text("utf-8").splitlines()]
    in_turn = sorted(questions, key=lambda question: question["id"].rpartition("-")[2])
    chosen = in_turn[: arguments.questions]
    methods = {name: METHODS[name] for name in arguments.methods}
    if arguments.nudge_with:
        methods |= nudging(arguments.nudge_with)
    prompt = load_prompt(arguments.prompt)
    settings = {
        "prompt": prompt.digest,
        "batch": arguments.batch,
        "max_tokens": MAX_TOKENS,
        **{name: way.described() for name, way in methods.items()},
    }
    options = {"backend": "transformers", "dtype": "float32", "max_batch_size": 64}
    model = model_in_process(str(demo_model_file()), options)
    warm = UrialChat(model, prompt)
    warm.reply([warm.request([Message("user", "Hello")], GenerationParameters(max_tokens=2))])
    with (
        RecordFile(arguments.answers, Row, settings) as records,
        ThreadPoolExecutor(arguments.batch) as pool,
    ):
        known = {(row.method, row.question) for row in records.rows}
        for name, way in methods.items():
            chat = UrialChat(model, prompt, decoding=way.decoding)
            missing = [question for question in chosen if (name, question["id"]) not in known]
            for start in range(0, len(missing), arguments.batch):
                group = missing[start : start + arguments.batch]
                begun = time.perf_counter()
                jobs = [
                    pool.submit(answer, chat, question, way, questions.index(question))
                    for question in group
                ]
                replies = [job.result() for job in jobs]
                seconds = (time.perf_counter() - begun) / len(group)
                for question, reply in zip(group, replies, strict=True):
                    usage = reply.usage if isinstance(reply, MethodReply) else reply.end.usage
                    tokens = usage.output_tokens if usage else 0
                    records.append(Row(name, question["id"], reply.text, tokens, seconds))
                done = start + len(group)
                print(f"{name}: {done}/{len(missing)}, {seconds:.1f} s each", file=sys.stderr)
        report(records.rows, methods, chosen, show=arguments.show)


if __name__ == "__main__":
    main()
