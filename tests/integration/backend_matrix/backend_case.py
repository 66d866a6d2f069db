"""A backend case: a chat model of either framework on one backend, behind one interface."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM

WAYS = ("sync", "async", "stream", "async stream")
"""The ways to request one reply."""


class NoCallError(Exception):
    """The model did not call the tool."""


@dataclass(frozen=True)
class Usage:
    """Tokens as the framework reports them."""

    read: int
    written: int
    total: int


@dataclass(frozen=True)
class Answer:
    """One reply, as the framework returns it."""

    text: str
    finish: str
    usage: Usage | None
    pieces: tuple[str, ...] = ()


class BackendCase(ABC):
    """A chat model on one backend."""

    async def ask(self, question: str, way: str = "sync", **kwargs: Any) -> Answer:
        """Return one reply, requested in one of the ways."""
        match way:
            case "sync":
                return self.whole(question, **kwargs)
            case "async":
                return await self.awhole(question, **kwargs)
            case "stream":
                return self.streamed(list(self.items(question, **kwargs)))
            case _:
                return self.streamed([item async for item in self.aitems(question, **kwargs)])

    async def close_early(self, question: str, way: str, **kwargs: Any) -> str:
        """Return the first chunks of a stream, and close it."""
        if way == "stream":
            with closing(self.items(question, **kwargs)) as items:
                return "".join(self.delta(next(items)) for _ in range(3))
        async with aclosing(self.aitems(question, **kwargs)) as items:
            return "".join([self.delta(await anext(items)) for _ in range(3)])

    @abstractmethod
    def whole(self, question: str, **kwargs: Any) -> Answer: ...
    @abstractmethod
    async def awhole(self, question: str, **kwargs: Any) -> Answer: ...
    @abstractmethod
    def items(self, question: str, **kwargs: Any) -> Iterator[Any]: ...
    @abstractmethod
    def aitems(self, question: str, **kwargs: Any) -> AsyncIterator[Any]: ...
    @abstractmethod
    def streamed(self, items: Sequence[Any]) -> Answer: ...
    @abstractmethod
    def delta(self, item: Any) -> str: ...
    @abstractmethod
    async def several(self, questions: Sequence[str], *, asynchronous: bool) -> list[Answer]: ...
    @abstractmethod
    def typed(self, kind: type[BaseModel], question: str) -> BaseModel: ...
    @abstractmethod
    def call(self, tool: type[BaseModel], question: str) -> Mapping[str, Any]: ...


class LangChainBackend(BackendCase):
    """A LangChain chat model."""

    def __init__(self, chat: ChatUrial) -> None:
        self.chat = chat

    def whole(self, question: str, **kwargs: Any) -> Answer:
        return self.answer(self.chat.invoke(question, **kwargs))

    async def awhole(self, question: str, **kwargs: Any) -> Answer:
        return self.answer(await self.chat.ainvoke(question, **kwargs))

    def items(self, question: str, **kwargs: Any) -> Iterator[Any]:
        return self.chat.stream(question, **kwargs)

    def aitems(self, question: str, **kwargs: Any) -> AsyncIterator[Any]:
        return self.chat.astream(question, **kwargs)

    def streamed(self, items: Sequence[Any]) -> Answer:
        whole = items[0]
        for item in items[1:]:
            whole += item
        return self.answer(whole, tuple(map(self.delta, items)))

    def delta(self, item: Any) -> str:
        return str(item.text)

    async def several(self, questions: Sequence[str], *, asynchronous: bool) -> list[Answer]:
        if asynchronous:
            return list(map(self.answer, await self.chat.abatch([*questions])))
        return list(map(self.answer, await asyncio.to_thread(self.chat.batch, [*questions])))

    def typed(self, kind: type[BaseModel], question: str) -> BaseModel:
        found: BaseModel = self.chat.with_structured_output(kind).invoke(question)
        return found

    def call(self, tool: type[BaseModel], question: str) -> Mapping[str, Any]:
        reply = self.chat.bind_tools([tool], tool_choice="any").invoke(question)
        if not reply.tool_calls:
            raise NoCallError(reply.invalid_tool_calls)
        assert reply.response_metadata["finish_reason"] == "tool_calls"
        assert reply.tool_calls[0]["name"] == tool.__name__
        return reply.tool_calls[0]["args"]

    @staticmethod
    def answer(message: AIMessage, pieces: tuple[str, ...] = ()) -> Answer:
        usage = message.usage_metadata
        return Answer(
            message.text,
            message.response_metadata["finish_reason"],
            Usage(usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
            if usage
            else None,
            pieces,
        )


class LlamaIndexBackend(BackendCase):
    """A LlamaIndex LLM."""

    def __init__(self, llm: UrialLLM) -> None:
        self.llm = llm

    def whole(self, question: str, **kwargs: Any) -> Answer:
        return self.answer(self.llm.chat(_messages(question), **kwargs))

    async def awhole(self, question: str, **kwargs: Any) -> Answer:
        return self.answer(await self.llm.achat(_messages(question), **kwargs))

    def items(self, question: str, **kwargs: Any) -> Iterator[Any]:
        return self.llm.stream_chat(_messages(question), **kwargs)

    async def aitems(self, question: str, **kwargs: Any) -> AsyncIterator[Any]:
        items = await self.llm.astream_chat(_messages(question), **kwargs)
        async with aclosing(items):
            async for item in items:
                yield item

    def streamed(self, items: Sequence[Any]) -> Answer:
        return self.answer(items[-1], tuple(map(self.delta, items)))

    def delta(self, item: Any) -> str:
        return item.delta or ""

    async def several(self, questions: Sequence[str], *, asynchronous: bool) -> list[Answer]:
        """Run all at once: LlamaIndex has no batches."""
        if asynchronous:
            return list(await asyncio.gather(*map(self.awhole, questions)))
        return list(
            await asyncio.gather(*(asyncio.to_thread(self.whole, each) for each in questions))
        )

    def typed(self, kind: type[BaseModel], question: str) -> BaseModel:
        return self.llm.structured_predict(kind, PromptTemplate("{question}"), question=question)

    def call(self, tool: type[BaseModel], question: str) -> Mapping[str, Any]:
        offered = FunctionTool.from_defaults(
            lambda **_: "", name=tool.__name__, description=tool.__doc__, fn_schema=tool
        )
        response = self.llm.chat_with_tools([offered], user_msg=question, tool_required=True)
        calls = self.llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        if not calls:
            raise NoCallError(response.raw)
        assert response.raw["finish_reason"] == "tool_calls"
        call = calls[0]
        assert call.tool_name == tool.__name__
        return call.tool_kwargs

    @staticmethod
    def answer(response: ChatResponse, pieces: tuple[str, ...] = ()) -> Answer:
        usage = response.raw.get("usage")
        return Answer(
            response.message.content or "",
            response.raw["finish_reason"],
            Usage(usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"])
            if usage
            else None,
            pieces,
        )


def _messages(question: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=question)]
