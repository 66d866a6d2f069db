"""Measure the overhead of the adapters: the same requests with the openai SDK and with them.

Calls come in pairs, one with each, in alternating order, with questions that differ in one word.
There are two servers: a real llama.cpp server with the demo model, for the share of a reply's time,
and a stub that answers at once, for the cost of a call in milliseconds.

    python benchmarks/overhead.py [--rounds 7] [--slots 16] [--threads 2]

Print Markdown tables of medians. The real server uses all cores, so run it on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core import GenerationParameters, Message, UrialChat, load_prompt
from urial_core.backends.completions_server import CompletionsServerModel, completion_payload

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "tests" / "servers" / "llama_server.py"
REPLY_TOKENS = 32
TOPICS = ("tea", "glass", "owls", "soap", "maps", "rain", "bread", "salt", "moss", "paper")
METHODS = ("whole", "stream", "async whole", "async stream")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument(
        "--slots", type=int, default=16, help="slots of the server, and concurrent calls"
    )
    options.add_argument("--threads", type=int, default=2, help="threads of the real server")
    options.add_argument("--stub", action="store_true", help="run the stub server")
    arguments = options.parse_args()
    if arguments.stub:
        asyncio.run(serve_stub())
        return
    with serving([__file__, "--stub"]) as url:
        print(
            "A server that answers at once: milliseconds of one call, and what the adapter adds\n"
        )
        table(url, 10 * arguments.rounds, arguments.slots, absolute=True)
    with tempfile.TemporaryDirectory() as slots:
        command = [str(SERVER), "--slots", str(arguments.slots), "--window", "2048"]
        command += [
            "--threads",
            str(arguments.threads),
            "--cache-ram",
            "0",
            "--slot-save-path",
            slots,
        ]
        with serving(command) as url:
            CompletionsServerModel(url).warm(load_prompt("default"))
            print(f"\nA real server: seconds of a reply of {REPLY_TOKENS} tokens, and the ratio\n")
            table(url, arguments.rounds, arguments.slots, absolute=False)


@contextmanager
def serving(command: list[str]) -> Generator[str]:
    """Start a server in a process of its own, which prints its address; yield its base URL."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout
    yield f"{process.stdout.readline().strip()}/v1"
    process.kill()
    process.communicate()


def table(url: str, rounds: int, most: int, *, absolute: bool) -> None:
    unit = "ms" if absolute else "s"
    added = "added" if absolute else "adapter / SDK"
    print(
        f"| adapter | method | concurrent calls | SDK, {unit} | adapter, {unit} "
        f"| {added} | quartiles |"
    )
    print("|---|---|---|---|---|---|---|")
    for concurrent in (1, most):
        for adapter in (LangChain, LlamaIndex):
            for method in METHODS if concurrent == 1 else ("whole", "async stream"):
                times = rounds if concurrent == 1 else max(rounds // 2, 3)
                pairs = measured(url, adapter, method, concurrent, times)
                print(row(adapter.name, method, concurrent, pairs, absolute=absolute), flush=True)


def row(
    adapter: str, method: str, concurrent: int, pairs: list[tuple[float, float]], *, absolute: bool
) -> str:
    scale, digits = (1000, 2) if absolute else (1, 3)
    direct, ours = (scale * statistics.median(times) for times in zip(*pairs, strict=True))
    compared = [scale * (b - a) if absolute else b / a for a, b in pairs]
    low, middle, high = statistics.quantiles(compared, n=4)
    cells = [adapter, method, str(concurrent), *(f"{n:.{digits}f}" for n in (direct, ours, middle))]
    return f"| {' | '.join(cells)} | {low:.{digits}f} to {high:.{digits}f} |"


def measured(
    url: str, adapter: type[Client], method: str, concurrent: int, rounds: int
) -> list[tuple[float, float]]:
    """Return pairs of the seconds of a reply, with the SDK and with the adapter."""
    numbers = count(1)

    async def run() -> list[tuple[float, float]]:
        direct, ours = Sdk(url), adapter(url)
        clients = direct, ours
        for client in clients:
            await group(client, method, 1, numbers)  # connects
        pairs = []
        for round_ in range(rounds):
            order = (0, 1) if round_ % 2 else (1, 0)
            taken = {
                index: await group(clients[index], method, concurrent, numbers) for index in order
            }
            pairs.append((taken[0], taken[1]))
        await direct.aclose()
        return pairs

    return asyncio.run(run())


async def group(client: Client, method: str, concurrent: int, numbers: count[int]) -> float:
    """Run concurrent calls; return their seconds, scaled to replies of full length."""
    questions = []
    for _ in range(concurrent):
        number = next(numbers)
        questions.append(f"Tell me about {TOPICS[number % len(TOPICS)]}, part {100 + number}.")
    client.prepare(questions, streams="stream" in method)
    start = time.perf_counter()
    if "async" in method:
        written = sum(await asyncio.gather(*(client.awritten(method, each) for each in questions)))
    elif concurrent == 1:
        written = client.written(method, questions[0])
    else:
        with ThreadPoolExecutor(concurrent) as threads:
            written = sum(threads.map(lambda each: client.written(method, each), questions))
    return (time.perf_counter() - start) * REPLY_TOKENS * concurrent / written


class Client(ABC):
    """One client of a server, called by four methods."""

    name: str

    def prepare(self, questions: list[str], *, streams: bool) -> None:  # noqa: B027 - optional
        """Do what is not part of the measured time."""

    def written(self, method: str, question: str) -> int:
        """Call the server; return how many tokens it generated."""
        if method == "whole":
            return self.tokens(self.whole(question))
        return self.tokens([*self.stream(question)][-1])

    async def awritten(self, method: str, question: str) -> int:
        """Call the server, async; return how many tokens it generated."""
        if method == "async whole":
            return self.tokens(await self.awhole(question))
        return self.tokens([item async for item in self.astream(question)][-1])

    @abstractmethod
    def whole(self, question: str) -> Any: ...
    @abstractmethod
    async def awhole(self, question: str) -> Any: ...
    @abstractmethod
    def stream(self, question: str) -> Iterator[Any]: ...
    @abstractmethod
    def astream(self, question: str) -> AsyncIterator[Any]: ...
    @abstractmethod
    def tokens(self, last: Any) -> int: ...


class Sdk(Client):
    """The SDK itself, with the payloads of the adapters, composed beforehand."""

    name = "openai"

    def __init__(self, url: str) -> None:
        self._model = CompletionsServerModel(url)
        self._chat = UrialChat(self._model, load_prompt("default"))
        self._client = AsyncOpenAI(base_url=url, api_key="none")
        self._sync = OpenAI(base_url=url, api_key="none").completions
        self._async = self._client.completions
        self._bodies = dict[str, dict[str, Any]]()

    def prepare(self, questions: list[str], *, streams: bool) -> None:
        server, tokenize = self._model.server(), self._model.tokenizer
        assert tokenize
        for question in questions:
            parameters = GenerationParameters(max_tokens=REPLY_TOKENS, temperature=0.0)
            request = self._chat.request([Message("user", question)], parameters)
            body = completion_payload(request, server.model, server.dialect, stream=streams)
            self._bodies[question] = {**body, "prompt": tokenize(request.prompt)}

    def whole(self, question: str) -> Any:
        return self._sync.create(**self._arguments(question))

    async def awhole(self, question: str) -> Any:
        return await self._async.create(**self._arguments(question))

    def stream(self, question: str) -> Iterator[Any]:
        return self._sync.create(**self._arguments(question))

    async def astream(self, question: str) -> AsyncIterator[Any]:
        async for event in await self._async.create(**self._arguments(question)):
            yield event

    async def aclose(self) -> None:
        await self._client.close()

    def tokens(self, last: Any) -> int:
        return int(last.usage.completion_tokens)

    def _arguments(self, question: str) -> dict[str, Any]:
        body = self._bodies.pop(question)
        # In extra_body, since the SDK is slow to transform a prompt of many tokens.
        more = {"extra_body": body, "stream": body.get("stream", False)}
        return {"model": body["model"], "prompt": "", **more}


class LangChain(Client):
    """``ChatUrial.from_endpoint``."""

    name = "ChatUrial"

    def __init__(self, url: str) -> None:
        self._chat = ChatUrial.from_endpoint(url, max_tokens=REPLY_TOKENS, temperature=0.0)

    def whole(self, question: str) -> Any:
        return self._chat.invoke(question)

    async def awhole(self, question: str) -> Any:
        return await self._chat.ainvoke(question)

    def stream(self, question: str) -> Iterator[Any]:
        return self._chat.stream(question)

    def astream(self, question: str) -> AsyncIterator[Any]:
        return self._chat.astream(question)

    def tokens(self, last: Any) -> int:
        return int(last.usage_metadata["output_tokens"])


class LlamaIndex(Client):
    """``UrialLLM.from_endpoint``."""

    name = "UrialLLM"

    def __init__(self, url: str) -> None:
        self._llm = UrialLLM.from_endpoint(url, max_tokens=REPLY_TOKENS, temperature=0.0)

    def whole(self, question: str) -> Any:
        return self._llm.complete(question)

    async def awhole(self, question: str) -> Any:
        return await self._llm.acomplete(question)

    def stream(self, question: str) -> Iterator[Any]:
        return self._llm.stream_complete(question)

    async def astream(self, question: str) -> AsyncIterator[Any]:
        async for item in await self._llm.astream_complete(question):
            yield item

    def tokens(self, last: Any) -> int:
        return int(last.raw["usage"]["completion_tokens"])


async def serve_stub() -> None:
    """Serve what the clients need of llama.cpp's API, and answer at once."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        path, length = line.split()[1].decode(), 0
        while (header := await reader.readline()).strip():
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        content = await reader.readexactly(length)
        kind, body = _STREAM if b'"stream":true' in content else _WHOLE.get(path, (b"json", b"{}"))
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s"
            % (kind, len(body), body)
        )
        await writer.drain()


def _completion(text: str, finish: str | None) -> dict[str, Any]:
    usage = {"prompt_tokens": 1000, "completion_tokens": REPLY_TOKENS, "total_tokens": 1032}
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    shell = {"id": "1", "object": "text_completion", "created": 1, "model": "gemma"}
    return {**shell, "choices": [choice], "usage": usage}


def _json(value: Any) -> tuple[bytes, bytes]:
    return b"application/json", json.dumps(value).encode()


_WHOLE = {
    "/v1/models": _json({"data": [{"id": "gemma", "owned_by": "llamacpp"}]}),
    "/props": _json({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1}),
    "/tokenize": _json({"tokens": list(range(1000, 2000))}),
    "/v1/completions": _json(_completion(" word" * REPLY_TOKENS, "length")),
}
_EVENTS = [_completion(" word", None)] * (REPLY_TOKENS - 1) + [_completion(" word", "length")]
_STREAM = (
    b"text/event-stream",
    "".join(f"data: {json.dumps(event)}\n\n" for event in [*_EVENTS]).encode()
    + b"data: [DONE]\n\n",
)


if __name__ == "__main__":
    main()
