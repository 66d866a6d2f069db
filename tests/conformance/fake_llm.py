"""A fake LLM that keeps every rule of LlamaIndex's contract and computes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools import BaseTool

__all__ = ["FakeLLM", "Source"]


class Source:
    """Write the answer to one text, word by word, until closed."""

    def __init__(self, llm: FakeLLM, seen: str, stop: Sequence[str] = ()) -> None:
        llm.seen.append(seen)
        llm.sources.append(self)
        self.running = True
        self.words = seen.split()
        self.pieces = [f"{word} " for word in ("You", "said", *self.words[-8:], "and", "I", "see.")]
        text = "".join(self.pieces)
        cut = min((text.index(one) for one in stop if one in text), default=len(text))
        self.text = text[:cut].strip()
        self.delay = llm.delay
        self.fails = llm.fails_midway
        self.closed = False

    def write(self) -> Generator[str]:
        """Write the pieces."""
        try:
            for piece in self._cut():
                if self.closed:
                    return
                time.sleep(self.delay)
                yield piece
        finally:
            self.running = False

    async def awrite(self) -> AsyncGenerator[str]:
        """Write the pieces as ``write`` does."""
        try:
            for piece in self._cut():
                if self.closed:
                    return
                await asyncio.sleep(self.delay)
                yield piece
        finally:
            self.running = False

    def usage(self) -> dict[str, Any]:
        """Count words."""
        written = len(self.text.split())
        return {"usage": {"prompt_tokens": len(self.words), "completion_tokens": written}}

    def _cut(self) -> Generator[str]:
        rest = self.text
        for number, piece in enumerate(self.pieces):
            if not rest:
                return
            if self.fails and number == 3:
                raise ConnectionError("The connection is lost.")
            yield rest[: len(piece)]
            rest = rest[len(piece) :]


class FakeLLM(FunctionCallingLLM):
    """Repeat the prompt.

    Attributes:
        delay: Seconds for each word.
        seen: The texts that the model got, in order.
        sources: The sources of the answers, in order.
        fails_midway: Whether its sources fail after three words.
    """

    fails_midway: bool = False
    api_key: str = Field(default="key-very-secret", exclude=True)
    delay: float = 0.002
    _seen: list[str] = PrivateAttr(default_factory=list)
    _sources: list[Source] = PrivateAttr(default_factory=list)

    @property
    def seen(self) -> list[str]:
        return self._seen

    @property
    def sources(self) -> list[Source]:
        return self._sources

    @classmethod
    def class_name(cls) -> str:
        return "FakeLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=2048,
            num_output=64,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name="fake",
        )

    # Answers

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        return Source(self, text, stop)

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        raw = source.usage() if last else None
        return CompletionResponse(text=text, delta=delta, raw=raw)

    def response(
        self, source: Source, text: str, delta: str, *, last: bool, tools: Any = ()
    ) -> Any:
        raw = source.usage() if last else None
        if last and tools:
            return ChatResponse(message=_calls(tools, source.words), delta=delta, raw=raw)
        return ChatResponse(message=_assistant(text), delta=delta, raw=raw)

    def items(self, source: Source, make: Any) -> Generator[Any]:
        text = ""
        for piece in source.write():
            text += piece
            yield make(source, text, piece, last=False)
        yield make(source, text, "", last=True)

    async def aitems(self, source: Source, make: Any) -> AsyncGenerator[Any]:
        text = ""
        async for piece in source.awrite():
            text += piece
            yield make(source, text, piece, last=False)
        yield make(source, text, "", last=True)

    def whole(self, source: Source, make: Any) -> Any:
        return make(source, "".join(source.write()), "", last=True)

    async def awhole(self, source: Source, make: Any) -> Any:
        return make(source, "".join([piece async for piece in source.awrite()]), "", last=True)

    # Completions

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        source = self.answer(_prompt(prompt, formatted), kwargs.get("stop", ()))
        return self.whole(source, self.completion)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        source = self.answer(_prompt(prompt, formatted), kwargs.get("stop", ()))
        return await self.awhole(source, self.completion)

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        source = self.answer(_prompt(prompt, formatted), kwargs.get("stop", ()))

        @llm_completion_callback()
        def reported(llm: FakeLLM, prompt: str, **kwargs: Any) -> Any:
            return llm.items(source, llm.completion)

        return _close_quietly(reported(self, prompt, **kwargs), source)

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        source = self.answer(_prompt(prompt, formatted), kwargs.get("stop", ()))

        @llm_completion_callback()
        async def reported(llm: FakeLLM, prompt: str, **kwargs: Any) -> Any:
            return llm.aitems(source, llm.completion)

        return _aclose_quietly(await reported(self, prompt, **kwargs), source)

    # Chat

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        source, make = self._conversation(messages, kwargs)
        return self.whole(source, make)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        source, make = self._conversation(messages, kwargs)
        return await self.awhole(source, make)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        source, make = self._conversation(messages, kwargs)

        @llm_chat_callback()
        def reported(llm: FakeLLM, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
            return llm.items(source, make)

        return _close_quietly(reported(self, messages, **kwargs), source)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        source, make = self._conversation(messages, kwargs)

        @llm_chat_callback()
        async def reported(llm: FakeLLM, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
            return llm.aitems(source, make)

        return _aclose_quietly(await reported(self, messages, **kwargs), source)

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        return "\n".join(f"{message.role.value}: {_text(message)}" for message in messages)

    def _conversation(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> tuple[Source, Any]:
        source = self.answer(self.conversation_text(messages), kwargs.get("stop", ()))
        tools = kwargs.get("tools", ())

        def make(source: Source, text: str, delta: str, *, last: bool) -> Any:
            return self.response(source, text, delta, last=last, tools=tools)

        return source, make

    # Tools

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if user_msg is not None:
            message = ChatMessage(user_msg) if isinstance(user_msg, str) else user_msg
            messages.append(message)
        chosen = [tool for tool in tools if tool_choice in (None, tool.metadata.get_name())]
        called = chosen[:1] if tool_required or tool_choice else []
        return {"messages": messages, "tools": called, **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        calls = [
            ToolSelection(
                tool_id=block.tool_call_id, tool_name=block.tool_name, tool_kwargs=block.tool_kwargs
            )
            for block in response.message.blocks
            if isinstance(block, ToolCallBlock)
        ]
        if not calls and error_on_no_tool_call:
            raise ValueError("The response has no tool call.")
        return calls

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        # The core's own async method forgets the system prompt.
        return await asyncio.to_thread(
            self.structured_predict, output_cls, prompt, llm_kwargs, **prompt_args
        )

    # The core's own streams of objects do not require the tool call.

    def _structured_stream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Generator[Any]:
        yield LLM.structured_predict(self, output_cls, prompt, llm_kwargs, **prompt_args)

    async def _structured_astream_call(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> AsyncGenerator[Any]:
        return self._objects(output_cls, prompt, llm_kwargs, **prompt_args)

    async def _objects(self, *args: Any, **prompt_args: Any) -> AsyncGenerator[Any]:
        yield await self.astructured_predict(*args, **prompt_args)


def _assistant(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


def _prompt(prompt: str, formatted: bool) -> str:
    return prompt if formatted else f"user: {prompt}"


def _text(message: ChatMessage) -> str:
    parts = list[str]()
    for block in message.blocks:
        if isinstance(block, TextBlock):
            parts.append(block.text)
        elif isinstance(block, ToolCallBlock):
            parts.append(f"{block.tool_name}({json.dumps(block.tool_kwargs)})")
        elif not isinstance(block, ThinkingBlock):
            logging.getLogger(__name__).warning("A block of type %s is left out", type(block))
    return "\n".join(parts)


def _calls(tools: Sequence[BaseTool], words: Sequence[str]) -> ChatMessage:
    numbers = [int(number) for word in words for number in re.findall(r"\d+", word)] or [7]
    blocks = [
        ToolCallBlock(
            tool_call_id=uuid4().hex,
            tool_name=tool.metadata.get_name(),
            tool_kwargs={
                name: numbers[0] if field["type"] == "integer" else "Ada"
                for name, field in tool.metadata.get_parameters_dict()["properties"].items()
            },
        )
        for tool in tools
    ]
    return ChatMessage(
        role="assistant",
        blocks=blocks,
        additional_kwargs={"tool_calls": [block.model_dump() for block in blocks]},
    )


def _close_quietly(items: Any, source: Source) -> Generator[Any]:
    # The core's decorator reports a close as an error, so the source is ended instead.
    try:
        for item in items:  # noqa: UP028 - `yield from` would pass the close on
            yield item
    finally:
        source.closed = True
        for _ in items:
            pass


async def _aclose_quietly(items: Any, source: Source) -> AsyncGenerator[Any]:
    try:
        async for item in items:
            yield item
    finally:
        source.closed = True
        async for _ in items:
            pass
