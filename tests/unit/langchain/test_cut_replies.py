"""Replies that ``max_tokens`` cut, in LangChain's terms."""

from __future__ import annotations

from typing import Any

import pytest
from fake_models import PROMPT
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk
from pydantic import BaseModel

from langchain_urial import ChatUrial
from urial_core import CompletionChunk, ModelFeatures
from urial_core.testing import FakeModel

WAYS = ["invoke", "ainvoke", "stream", "astream"]
ENFORCING = ModelFeatures(enforces_choices=True, enforces_json=True)


class Write(BaseModel):
    """Write lines to a file."""

    path: str
    lines: list[str] = []


def chat_of(*pieces: str, closing: str) -> ChatUrial:
    """Return a chat model whose engine closes what it wrote at ``max_tokens``."""
    chunks = [CompletionChunk(piece) for piece in pieces]
    last = CompletionChunk(closing, finish="length", closing=closing)
    return ChatUrial(llm=FakeModel([*chunks, last], features=ENFORCING), prompt=PROMPT)


async def ask(way: str, runnable: Any) -> Any:
    """Ask for a reply in one of four ways; return it, or what its chunks add up to."""
    if way == "invoke":
        return runnable.invoke("Write.")
    if way == "ainvoke":
        return await runnable.ainvoke("Write.")
    if way == "stream":
        items = list(runnable.stream("Write."))
    else:
        items = [item async for item in runnable.astream("Write.")]
    if not isinstance(items[0], AIMessageChunk):
        return items[-1]
    total = items[0]
    for item in items[1:]:
        total += item
    return total


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "arguments", ['{"pa', '{"path": "a', '{"path": "a\\', '{"path": "a", "lines": ["b']
)
async def test_a_call_that_was_cut_is_invalid(way: str, arguments: str) -> None:
    """No agent executes it; its error names ``max_tokens``, and the finish reason is "length"."""
    chat = chat_of('{"name": "Write", "arguments": ', arguments, closing='"}}')
    message = await ask(way, chat.bind_tools([Write], tool_choice="Write"))
    assert isinstance(message, AIMessage)
    assert message.tool_calls == []
    [invalid] = message.invalid_tool_calls
    assert invalid["name"] == "Write"
    assert (invalid["args"] or "").startswith(arguments)
    assert message.response_metadata["finish_reason"] == "length"
    [reported] = message.response_metadata["invalid_tool_calls"]
    assert (reported["id"], reported["text"]) == (invalid["id"], arguments)
    assert "max_tokens ran out" in reported["error"]
    if way in ("invoke", "ainvoke"):
        assert invalid["error"] == reported["error"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_an_object_that_was_cut_is_an_error(way: str, method: Any) -> None:
    """What there is of it is in the error; nothing is filled in."""
    start = '{"name": "Write", "arguments": ' if method == "function_calling" else ""
    chat = chat_of(start, '{"path": "a', closing='"}')
    with pytest.raises(OutputParserException, match="max_tokens") as caught:
        await ask(way, chat.with_structured_output(Write, method=method))
    assert str(caught.value.llm_output).startswith('{"path": "a')
