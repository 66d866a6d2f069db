"""Both adapters share one core: the same model, prompt and text."""

from __future__ import annotations

import asyncio
import time

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from llama_index.core.llms import ChatMessage

from langchain_urial import ChatUrial
from llamaindex_urial import UrialLLM
from urial_core.backends.transformers import TransformersModel

QUESTION = "What is the capital of France?"


@pytest.mark.model
def test_both_frameworks_get_the_same_text(demo_model: TransformersModel) -> None:
    """Greedy, a question and a conversation get the same reply from ChatUrial and UrialLLM."""
    chat = ChatUrial(llm=demo_model, max_tokens=12)
    llm = UrialLLM(llm=demo_model, max_tokens=12)
    assert chat.invoke(QUESTION).text == llm.complete(QUESTION).text
    langchains = [
        SystemMessage("Answer in one sentence."),
        HumanMessage(QUESTION),
        AIMessage("Paris."),
        HumanMessage("And of Italy?"),
    ]
    llama_indexs = [
        ChatMessage(role="system", content="Answer in one sentence."),
        ChatMessage(role="user", content=QUESTION),
        ChatMessage(role="assistant", content="Paris."),
        ChatMessage(role="user", content="And of Italy?"),
    ]
    assert chat.invoke(langchains).text == llm.chat(llama_indexs).message.content


@pytest.mark.matrix
@pytest.mark.model
async def test_the_event_loop_runs_on_during_a_stream(demo_model: TransformersModel) -> None:
    """While the model in this process writes, other tasks of the loop go on."""
    llm = UrialLLM(llm=demo_model, max_tokens=24)
    llm.complete("Hi")  # so that the prefix is cached
    gaps = list[float]()

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    started = time.perf_counter()
    items = [item async for item in await llm.astream_complete("Tell me about the sea.")]
    took = time.perf_counter() - started
    ticking.cancel()
    assert len(items) > 10
    assert len(gaps) > len(items)  # more ticks than tokens
    assert max(gaps) < took / 4
