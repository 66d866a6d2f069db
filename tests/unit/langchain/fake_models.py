"""Fake models, each with the one property that a rule is about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import Any

from langchain_core.language_models import LLM
from langchain_core.outputs import GenerationChunk

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, CompletionRequest, Prompt
from urial_core.testing import FakeModel

PROMPT = Prompt(name="tiny", instruction="Be kind.")
END = "\n````\n"
"""What ends an answer of the default format."""
JUNK = "\n# Query:\n````\nAnd now?"
"""What a base model writes on after the end."""


def chat_of(*responses: Any, **fields: Any) -> ChatUrial:
    """Return a chat model around a fake model, which writes "Hello!" by default."""
    return ChatUrial(llm=FakeModel(*responses), **{"prompt": PROMPT, **fields})


def query_of(prompt: str) -> str:
    """Return the last query of a prompt."""
    return prompt.rpartition("# Query:\n````\n")[2].partition("\n````\n")[0]


class EnglishModel(FakeModel):
    """A fake model whose tokens are about as long as a real one's are in English."""

    def count_tokens(self, text: str) -> int:
        """Count four characters as a token."""
        return len(text) // 4


class EchoModel(FakeModel):
    """Answers "re: " and the last query, and remembers its calls."""

    def __init__(self, *, context_window: int | None = None, delay: float = 0.0) -> None:
        """Take a window in words, and the seconds a call takes."""
        super().__init__(name="echo", context_window=context_window, delay=delay)
        self.calls = list[list[str]]()
        self.streams = list[str]()

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        """Answer them all."""
        self.calls.append([query_of(request.prompt) for request in requests])
        self.requests += requests
        time.sleep(self._delay)
        return [CompletionChunk(self._reply(request), finish="stop") for request in requests]

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        """Answer them all."""
        self.calls.append([query_of(request.prompt) for request in requests])
        self.requests += requests
        await asyncio.sleep(self._delay)
        return [CompletionChunk(self._reply(request), finish="stop") for request in requests]

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Answer in pieces of three characters."""
        self.streams.append(query_of(request.prompt))
        self.requests.append(request)
        text = self._reply(request)
        for at in range(0, len(text), 3):
            yield CompletionChunk(text[at : at + 3])

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Answer in pieces of three characters."""
        for chunk in self.stream(request):
            await asyncio.sleep(0)
            yield chunk

    @staticmethod
    def _reply(request: CompletionRequest) -> str:
        return f"re: {query_of(request.prompt)}{END}{JUNK}"


class ReportingModel(FakeModel):
    """Replays whole chunks, with what they report of tokens and log-probabilities."""

    def __init__(self, *chunks: CompletionChunk, name: str = "reporting") -> None:
        """Take the chunks of every reply."""
        super().__init__(name=name)
        self._chunks = chunks

    def complete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        """Replay the chunks as one."""
        self.requests += requests
        whole = CompletionChunk(
            "".join(chunk.text for chunk in self._chunks),
            self._chunks[-1].finish,
            self._chunks[-1].usage,
            tuple(logprob for chunk in self._chunks for logprob in chunk.logprobs),
        )
        return [whole for _ in requests]

    def stream(self, request: CompletionRequest) -> Generator[CompletionChunk]:
        """Replay the chunks."""
        self.requests.append(request)
        yield from self._chunks

    async def acomplete(self, requests: Sequence[CompletionRequest]) -> list[CompletionChunk]:
        """Replay the chunks as one."""
        return self.complete(requests)

    async def astream(self, request: CompletionRequest) -> AsyncGenerator[CompletionChunk]:
        """Replay the chunks."""
        for chunk in self.stream(request):
            yield chunk


class PlainLLM(LLM):
    """A LangChain LLM with ``_call`` alone: it answers whole, blocking, and remembers its calls."""

    reply: str = f"Hello!{END}{JUNK}"
    seconds: float = 0.0
    seen: list[dict[str, Any]] = []  # noqa: RUF012 - a field: pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "plain"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"reply": self.reply}

    def _call(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> str:
        time.sleep(self.seconds)
        self.seen.append({"prompt": prompt, "stop": stop, "run_manager": run_manager, **kwargs})
        return self.reply


class StreamingLLM(PlainLLM):
    """Streams its reply by characters, blocking before each, and records when it is closed."""

    sent: list[str] = []  # noqa: RUF012 - a field: pydantic copies it
    closed: list[str] = []  # noqa: RUF012 - a field: pydantic copies it

    def _stream(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        self.seen.append({"prompt": prompt, "stop": stop, "run_manager": run_manager, **kwargs})
        try:
            for character in self.reply:
                time.sleep(self.seconds)
                self.sent.append(character)
                yield GenerationChunk(text=character)
        finally:
            self.closed.append(prompt)


class AsyncStreamingLLM(PlainLLM):
    """Streams its reply by characters in the event loop, and records when it is closed."""

    sent: list[str] = []  # noqa: RUF012 - a field: pydantic copies it
    closed: list[str] = []  # noqa: RUF012 - a field: pydantic copies it

    async def _acall(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> str:
        await asyncio.sleep(self.seconds)
        self.seen.append({"prompt": prompt, "stop": stop, "run_manager": run_manager, **kwargs})
        return self.reply

    async def _astream(
        self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[GenerationChunk]:
        try:
            for character in self.reply:
                await asyncio.sleep(self.seconds)
                self.sent.append(character)
                yield GenerationChunk(text=character)
        finally:
            self.closed.append(prompt)
