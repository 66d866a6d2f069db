"""The constant page on a real server: computed ahead, and found by every request."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from running_server import RunningServer

from langchain_urial import ChatUrial
from urial_core import Prompt

pytestmark = [pytest.mark.server, pytest.mark.model]


def unseen_prompt() -> Prompt:
    """A page of some 300 tokens that no cache has seen."""
    lines = "\n".join(f"Rule {number}: be helpful and brief." for number in range(30))
    return Prompt(name="unseen", instruction=f"This is page {uuid.uuid4()}.\n{lines}")


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_after_warming_every_parallel_request_finds_the_page(
    server: RunningServer, way: str
) -> None:
    """As many requests at once as llama.cpp has slots: none computes the page again."""
    prompt, model = unseen_prompt(), server.model()
    if way == "sync":
        model.warm(prompt)
    else:
        await model.awarm(prompt)
    chat = ChatUrial(llm=model, prompt=prompt, max_tokens=12)
    replies = await asyncio.gather(*(chat.ainvoke(f"Say {word}.") for word in ("one", "two")))
    replies += await chat.abatch(["Say three.", "Say four."])
    for reply in replies:
        assert reply.usage_metadata is not None
        assert reply.usage_metadata["input_token_details"]["cache_read"] >= 256


async def test_an_unseen_page_is_not_in_the_cache(server: RunningServer) -> None:
    """What the other tests here count is no accident."""
    chat = ChatUrial(llm=server.model(), prompt=unseen_prompt(), max_tokens=4)
    reply = await chat.ainvoke("Say one.")
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_token_details"]["cache_read"] < 128
