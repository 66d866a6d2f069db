"""The constant page on a real server: computed ahead, and found by every request."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
from running_server import LlamaServer, RunningServer

from langchain_urial import ChatUrial
from urial_core import Prompt

pytestmark = [pytest.mark.server, pytest.mark.model]


def unseen_prompt() -> Prompt:
    """A page of some 300 tokens that no cache has seen."""
    lines = "\n".join(f"Rule {number}: be helpful and brief." for number in range(30))
    return Prompt(name="unseen", instruction=f"This is page {uuid.uuid4()}.\n{lines}")


@pytest.mark.parametrize("way", [pytest.param("sync", marks=pytest.mark.matrix), "async"])
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


@pytest.mark.parametrize("way", [pytest.param("sync", marks=pytest.mark.matrix), "async"])
async def test_the_page_is_computed_once(server: RunningServer, way: str) -> None:
    """The second request finds the first one's page, by the server's own count."""
    chat = ChatUrial(llm=server.model(), prompt=unseen_prompt(), max_tokens=4)
    found = [server.tokens_found()]
    for question in ("Say one.", "Name a fruit."):
        if way == "sync":
            chat.invoke(question)
        else:
            await chat.ainvoke(question)
        found.append(server.tokens_found())
    assert found[1] - found[0] < 128
    assert found[2] - found[1] >= 256


async def test_an_unseen_page_is_not_in_the_cache(server: RunningServer) -> None:
    """What the other tests here count is no accident."""
    chat = ChatUrial(llm=server.model(), prompt=unseen_prompt(), max_tokens=4)
    reply = await chat.ainvoke("Say one.")
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_token_details"]["cache_read"] < 128


def test_warming_copies_the_page_from_slot_to_slot(tmp_path: Path) -> None:
    """llama.cpp computes it in its first slot only, and all four find it."""
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    server = LlamaServer(tmp_path, options=["--slots", "4"])
    try:
        model, prompt = server.model(), unseen_prompt()
        page = model.count_tokens(prompt.prefix)
        assert model.server().slots == 4
        model.warm(prompt)
        assert list(tmp_path.glob("urial-*.bin"))
        assert page <= server.counted("llamacpp:prompt_tokens_total") < page + 64
        chat = ChatUrial(llm=model, prompt=prompt, max_tokens=12)
        replies = chat.batch([f"Say {word}." for word in ("one", "two", "three", "four")])
    finally:
        server.kill()
    for reply in replies:
        assert reply.usage_metadata is not None
        assert reply.usage_metadata["input_token_details"]["cache_read"] >= page - 8
