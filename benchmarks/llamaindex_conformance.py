"""Run the conformance suite on several LLMs of LlamaIndex and compare them.

    python benchmarks/llamaindex_conformance.py

All are given the same base model or, behind a server, the same text. The Markdown on standard
output is what ``docs/llamaindex_conformance.md`` shows.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))

import pytest
import torch
from llama_index.core.base.llms.generic_utils import messages_to_prompt
from llama_index.core.llms import LLM
from llama_index.llms.huggingface import HuggingFaceLLM
from llama_index.llms.openai_like import OpenAILike
from stub_server import StubServer, serving
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamaindex_urial import UrialLLM
from llamaindex_urial.conformance import LLMConformanceTests
from urial_core.backends.transformers import TransformersModel
from urial_core.backends.transformers.loading import converted_gguf
from urial_core.demo import demo_model_file

MAX_TOKENS = 8
ROOM_FOR_JSON = 64
SECRET = "key-very-secret"  # noqa: S105 - of a fake server
WINDOW = 2048


class TestHuggingFaceLLM(LLMConformanceTests):
    """The base model in this process; it has no chat template, so the core's own is given."""

    @pytest.fixture
    def llm(self) -> LLM:
        model, tokenizer = _loaded()
        return _hugging_face(model, _Remembering(tokenizer))

    @pytest.fixture
    def failing_llm(self) -> LLM:
        model, tokenizer = _loaded()
        broken = SimpleNamespace(
            generate=_fail, config=model.config, device=model.device, name_or_path="broken"
        )
        return _hugging_face(broken, tokenizer)

    time_limit = 20.0
    supports_stop = False  # it has `stopping_ids` instead

    def seen_by_model(self, llm: Any) -> str | None:
        return str(llm._tokenizer.seen)  # noqa: SLF001 - the only way to see it


class TestOpenAILike(LLMConformanceTests):
    """A completions server, of which the answers are known."""

    @pytest.fixture
    def server(self) -> Generator[StubServer]:
        with serving(_completion) as server:
            yield server

    @pytest.fixture
    def llm(self, server: StubServer) -> LLM:
        type(self).asked = server
        return _openai_like(server)

    @pytest.fixture
    def failing_llm(self) -> Generator[LLM]:
        with serving(_broken_completion) as server:
            yield _openai_like(server)

    supports_concurrency = True

    @property
    def secrets(self) -> Sequence[str]:
        return [SECRET]

    def seen_by_model(self, llm: LLM) -> str | None:
        del llm
        return str(self.asked.bodies[-1]["prompt"])


class TestUrialLLM(LLMConformanceTests):
    """This project's, around the base model in this process."""

    @pytest.fixture
    def llm(self) -> LLM:
        return UrialLLM(llm=_engine(), max_tokens=MAX_TOKENS)

    @pytest.fixture
    def tool_llm(self) -> LLM:
        return UrialLLM(llm=_engine(), max_tokens=ROOM_FOR_JSON)

    @pytest.fixture
    def structured_llm(self) -> LLM:
        return UrialLLM(llm=_engine(), max_tokens=ROOM_FOR_JSON)

    returns_usage_metadata = True
    closes_without_error = True
    has_tool_calling = True


@cache
def _loaded() -> tuple[Any, Any]:
    folder = converted_gguf(demo_model_file(), torch.float32)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder)


@cache
def _engine() -> TransformersModel:
    return TransformersModel(demo_model_file(), dtype="float32")


def _hugging_face(model: Any, tokenizer: Any) -> LLM:
    return HuggingFaceLLM(
        model=model,
        tokenizer=tokenizer,
        model_name="gemma-3-270m",
        context_window=WINDOW,
        max_new_tokens=MAX_TOKENS,
        messages_to_prompt=messages_to_prompt,
        generate_kwargs={"do_sample": False},
    )


def _openai_like(server: StubServer) -> LLM:
    return OpenAILike(
        model="gemma-3-270m",
        api_base=f"{server.url}/v1",
        api_key=SECRET,
        context_window=WINDOW,
        max_tokens=64,
        max_retries=0,
        is_chat_model=False,
    )


class _Remembering:
    """A tokenizer that remembers the last text it was given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.seen = ""

    def __call__(self, text: str, **kwargs: Any) -> Any:
        self.seen = text
        return self._tokenizer(text, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def _fail(**kwargs: Any) -> None:
    del kwargs
    raise RuntimeError("out of memory")


def _completion(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer as a completions server does: stop texts are honoured, and a stream takes time."""
    text = f"You asked: {body['prompt'][-60:]} I do not know, but bees fly out for nectar."
    stops = body.get("stop") or []
    cut = min((text.index(stop) for stop in stops if stop in text), default=len(text))
    if not body.get("stream"):
        time.sleep(0.1)
        return _chunk(
            text[:cut].rstrip(), "stop", usage={"prompt_tokens": 9, "completion_tokens": 9}
        )
    return _events(text[:cut])


def _broken_completion(body: dict[str, Any]) -> bytes | Iterator[bytes]:
    """Answer with what is no completion, or break off amid the stream."""
    if not body.get("stream"):
        return b"out of memory"
    return chain(islice(_events("Bees fly out"), 2), [b"data: {broken\n\n"])


def _events(text: str) -> Iterator[bytes]:
    for piece in re.findall(r"\s*\S+", text):
        time.sleep(0.005)
        yield b"data: " + _chunk(piece, None) + b"\n\n"
    yield b"data: " + _chunk("", "stop") + b"\n\ndata: [DONE]\n\n"


def _chunk(text: str, finish: str | None, **more: Any) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    whole = {"id": "1", "object": "text_completion", "created": 1, "model": "gemma-3-270m"}
    return json.dumps({**whole, "choices": [choice], **more}).encode()


class Tally:
    """Counts outcomes, as a pytest plugin."""

    def __init__(self) -> None:
        self.groups = dict[str, str]()
        self.rules = dict[str, str]()
        self.outcomes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.failed: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.skipped: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            self.groups[item.nodeid] = item.function.__module__.rpartition(".")[2]
            self.rules[item.originalname] = " ".join((item.function.__doc__ or "").split())

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        _, llm, test = report.nodeid.split("::")
        llm = llm.removeprefix("Test")
        self.outcomes[self.groups[report.nodeid], llm][report.outcome] += 1
        name, _, case = test.rstrip("]").partition("[")
        if report.outcome == "failed":
            self.failed[llm, name].append(case)
        elif report.outcome == "skipped":
            self.skipped[llm][report.longrepr[2].removeprefix("Skipped: ")] += 1

    def table(self) -> str:
        """Passed, failed and skipped tests of each group, as Markdown."""
        llms = list(dict.fromkeys(llm for _, llm in self.outcomes))
        lines = [f"| | {' | '.join(llms)} |", "| --- |" + " --- |" * len(llms)]
        for group in dict.fromkeys(group for group, _ in self.outcomes):
            cells = [_counts(self.outcomes[group, llm]) for llm in llms]
            lines.append(f"| {group} | {' | '.join(cells)} |")
        sums = [
            sum((c for (_, of), c in self.outcomes.items() if of == llm), Counter()) for llm in llms
        ]
        lines.append(f"| **all** | {' | '.join(_counts(one) for one in sums)} |")
        return "\n".join(lines)

    def details(self) -> str:
        """What each LLM failed and what was skipped, as Markdown."""
        lines = list[str]()
        for llm in dict.fromkeys(llm for _, llm in self.outcomes):
            lines.append(f"\n### {llm}\n")
            for (of, name), cases in self.failed.items():
                if of == llm:
                    cells = ", ".join(sorted(filter(None, cases))) or "1"
                    lines.append(f"- `{name}`: {self.rules[name]} Failed: {cells}.")
            skipped = [f"{reason} ({number})" for reason, number in self.skipped[llm].items()]
            lines.append(f"- Skipped: {'; '.join(skipped) or 'none'}.")
        return "\n".join(lines)


def _counts(outcomes: Counter[str]) -> str:
    return " / ".join(str(outcomes[name]) for name in ("passed", "failed", "skipped"))


def main() -> None:
    tally = Tally()
    options = ["-q", "-c", os.devnull, "-p", "no:cacheprovider", "-W", "ignore", "--tb=no", "-rN"]
    pytest.main([*options, "--import-mode=importlib", __file__, *sys.argv[1:]], [tally])
    packages = [
        f"llama-index-{name} {version(f'llama-index-{name}')}"
        for name in ("core", "llms-huggingface", "llms-openai-like", "llms-openai")
    ]
    print(f"\n{', '.join(packages)}. Passed / failed / skipped:\n")
    print(tally.table())
    print(tally.details())


if __name__ == "__main__":
    main()
