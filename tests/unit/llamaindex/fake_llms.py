"""Fake LlamaIndex LLMs, each with the one property that a rule is about."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from pydantic import PrivateAttr

from llamaindex_urial import UrialLLM
from urial_core import Prompt

PROMPT = Prompt(name="tiny", instruction="Be kind.")
END = "\n````\n"
"""What ends an answer of the default format."""
JUNK = "\n# Query:\n````\nAnd now?"
"""What a base model writes on after the end."""
PIECES = ["Hel", "lo", "!", END[:3], END[3:], JUNK]
WAYS = ["complete", "acomplete", "stream", "astream"]


async def ask(way: str, llm: UrialLLM, question: str = "Hi", **kwargs: Any) -> str:
    """The reply's text, asked for in one of four ways."""
    match way:
        case "complete":
            return llm.complete(question, **kwargs).text
        case "acomplete":
            return (await llm.acomplete(question, **kwargs)).text
        case "stream":
            return "".join(item.delta or "" for item in llm.stream_complete(question, **kwargs))
    items = await llm.astream_complete(question, **kwargs)
    return "".join([item.delta or "" async for item in items])


class PlainLLM(CustomLLM):
    """What users write themselves: two methods, blocking, no stop strings, running on."""

    max_tokens: int = 7
    echoes: bool = False
    cumulative: bool = False
    """Whether its stream reports the whole text so far instead of what is new."""

    _seen: list[Any] = PrivateAttr(default_factory=list)
    _busy: int = PrivateAttr(default=0)

    @property
    def metadata(self) -> LLMMetadata:
        """A small completion model."""
        return LLMMetadata(context_window=2000, num_output=self.max_tokens, model_name="plain")

    def _pieces(self, prompt: str) -> list[str]:
        return [prompt[:9], prompt[9:], *PIECES] if self.echoes else PIECES

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete."""
        self._busy += 1
        assert self._busy == 1, "two calls at once"
        self._seen.append((prompt, formatted, kwargs, self.max_tokens))
        time.sleep(0.02)
        self._busy -= 1
        return CompletionResponse(text="".join(self._pieces(prompt)))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Complete piece by piece."""
        self._seen.append((prompt, formatted, kwargs, self.max_tokens))

        def pieces() -> Any:
            text = ""
            for piece in self._pieces(prompt):
                text += piece
                yield CompletionResponse(text=text, delta=None if self.cumulative else piece)

        return pieces()


class AsyncLLM(PlainLLM):
    """One with async methods of its own, and no blocking ones."""

    @llm_completion_callback()
    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> CompletionResponse:
        """Complete after a while."""
        await asyncio.sleep(0.2)
        return CompletionResponse(text="".join(self._pieces(prompt)))

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Complete piece by piece, with pauses."""

        async def pieces() -> Any:
            text = ""
            for piece in self._pieces(prompt):
                await asyncio.sleep(0.01)
                text += piece
                yield CompletionResponse(text=text, delta=piece)

        return pieces()
