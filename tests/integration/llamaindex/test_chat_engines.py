"""Conversations by LlamaIndex's chat engines."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent
from llama_index_instrumentation import get_dispatcher
from pydantic import PrivateAttr

from llamaindex_urial import UrialLLM

pytestmark = pytest.mark.model

RETRIEVING = [
    ChatMode.CONTEXT,
    ChatMode.CONDENSE_QUESTION,
    ChatMode.CONDENSE_PLUS_CONTEXT,
    ChatMode.BEST,
]


class EventHandler(BaseEventHandler):
    """Keeps what responses report."""

    _raws: list[Any] = PrivateAttr()

    def __init__(self, raws: list[Any]) -> None:
        super().__init__()
        self._raws = raws

    def handle(self, event: BaseEvent, **_: Any) -> None:
        if isinstance(event, LLMChatEndEvent) and event.response:
            self._raws.append(event.response.raw)


def engines(index: VectorStoreIndex, llm: UrialLLM) -> dict[str, BaseChatEngine]:
    """An engine of each kind."""
    found: dict[str, BaseChatEngine] = {
        mode.value: index.as_chat_engine(chat_mode=mode, llm=llm, similarity_top_k=1)
        for mode in RETRIEVING
    }
    return {"simple": SimpleChatEngine.from_defaults(llm=llm), **found}


@pytest.mark.parametrize(
    "kind",
    [
        "simple",
        *(
            pytest.param(kind, marks=pytest.mark.matrix)
            for kind in ("context", "condense_question", "condense_plus_context", "best")
        ),
    ],
)
async def test_an_engine_keeps_a_conversation(
    index: VectorStoreIndex, llm: UrialLLM, kind: str
) -> None:
    """Two turns, asked and streamed, sync and async: answers are clean and the history grows."""
    engine = engines(index, llm)[kind]
    first = engine.chat("How long are books lent?")
    assert str(first).strip()
    streamed = "".join(engine.stream_chat("And films?").response_gen)
    assert streamed.strip()
    assert [message.role.value for message in engine.chat_history] == ["user", "assistant"] * 2
    assert engine.chat_history[-1].content == streamed
    awaited = await engine.achat("How often can I renew?")
    pieces = await engine.astream_chat("Thank you!")
    last = "".join([piece async for piece in pieces.async_response_gen()])
    assert str(awaited).strip()
    assert last.strip()
    history = "\n".join(str(message.content) for message in engine.chat_history)
    assert "````" not in history
    assert "# Query:" not in history


@pytest.mark.matrix
def test_the_condensed_question_is_one_clean_line(index: VectorStoreIndex, llm: UrialLLM) -> None:
    """The question that is searched for is the model's answer alone, no greeting around it."""
    engine = index.as_chat_engine(chat_mode=ChatMode.CONDENSE_PLUS_CONTEXT, llm=llm)
    engine.chat("How much does a color page cost?")
    asked = list[str]()
    retriever = engine._retriever  # type: ignore[attr-defined] # what is searched is not public
    retrieve = retriever.retrieve
    retriever.retrieve = lambda query: (asked.append(str(query)), retrieve(query))[1]
    engine.chat("And a black and white one?")
    assert asked
    assert asked[0].strip()
    assert "````" not in asked[0]


def test_the_context_of_each_turn_keeps_the_prefix_cached(
    index: VectorStoreIndex, llm: UrialLLM
) -> None:
    """Retrieved text changes every turn; it follows the constant prefix, which stays cached."""
    raws = list[Any]()
    counting = EventHandler(raws)
    root = get_dispatcher()
    root.add_event_handler(counting)
    try:
        engine = index.as_chat_engine(chat_mode=ChatMode.CONTEXT, llm=llm, similarity_top_k=1)
        for question in ("How long are books lent?", "When is the chess evening?"):
            engine.chat(question)
    finally:
        root.event_handlers.remove(counting)
    cached = [raw["usage"]["prompt_tokens_details"]["cached_tokens"] for raw in raws]
    assert len(cached) == 2
    assert cached[1] >= llm.prefix_tokens - 16
