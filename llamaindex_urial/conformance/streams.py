"""Answers in parts."""

from __future__ import annotations

import inspect

import pytest
from llama_index.core.llms import LLM

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.endpoints import STREAMS, Endpoint, text_of

__all__ = ["StreamTests"]


class StreamTests(LLMClaims):
    """What readers of a stream rely on."""

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("agents: 'Got empty streaming response' (agent/workflow/base_agent.py)")
    def test_has_an_item(self, llm: LLM, endpoint: Endpoint) -> None:
        """A stream has at least one item."""
        assert self.ask(llm, endpoint)

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("LLM.stream and CodeActAgent read deltas; FunctionAgent and ReActAgent the last text")
    def test_deltas_make_up_the_text(self, llm: LLM, endpoint: Endpoint) -> None:
        """Each item's text is all deltas so far, joined; the last one's is the whole answer."""
        so_far = ""
        for number, item in enumerate(self.ask(llm, endpoint)):
            so_far += item.delta or ""
            assert text_of(item) == so_far, f"item {number}"
        assert so_far.strip(), "the deltas are blank"

    @pytest.mark.parametrize("endpoint", STREAMS, ids=str)
    @contract("StreamingResponse, as against Response (base/response/schema.py)")
    def test_same_text_as_at_once(self, llm: LLM, endpoint: Endpoint) -> None:
        """A stream's last text is the text that the whole answer has."""
        self.needs("deterministic")
        assert self.text(llm, endpoint) == self.text(llm, endpoint.whole)

    @pytest.mark.parametrize("endpoint", [e for e in STREAMS if e.is_async], ids=str)
    @contract(
        "llm_chat_callback: an async def that yields is taken as not async (llms/callbacks.py)"
    )
    def test_awaiting_gives_an_async_generator(self, llm: LLM, endpoint: Endpoint) -> None:
        """``await llm.astream_...(...)`` gives an async generator."""
        method = getattr(llm, endpoint.method)
        answer = method(self.question(endpoint), **endpoint.arguments)
        assert inspect.isawaitable(answer), f"{type(answer).__name__} cannot be awaited"

        async def first() -> object:
            stream = await answer
            assert inspect.isasyncgen(stream), type(stream).__name__
            async for item in stream:
                await stream.aclose()
                return item
            return None

        assert self.run_async(first()) is not None

    @pytest.mark.parametrize("endpoint", [e for e in STREAMS if not e.is_async], ids=str)
    @contract("llm_chat_callback: events are added to a Generator only (llms/callbacks.py)")
    def test_calling_gives_a_generator(self, llm: LLM, endpoint: Endpoint) -> None:
        """``llm.stream_...(...)`` gives a generator, which can be closed."""

        def first() -> object:
            stream = getattr(llm, endpoint.method)(self.question(endpoint), **endpoint.arguments)
            assert inspect.isgenerator(stream), type(stream).__name__
            item = next(stream)
            stream.close()
            return item

        assert self.run(first) is not None
