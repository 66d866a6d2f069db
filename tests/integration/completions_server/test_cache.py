"""The prompt prefix on a real server: warmed up, and found in the prefix cache."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
from running_server import LlamaServer, RunningServer

from langchain_urial import ChatUrial
from urial_core import Prompt

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]


def unseen_prompt() -> Prompt:
    """Return a prompt whose prefix of about 300 tokens is in no cache."""
    lines = "\n".join(f"Rule {number}: be helpful and brief." for number in range(30))
    return Prompt(name="unseen", instruction=f"This is prompt {uuid.uuid4()}.\n{lines}")


@pytest.mark.parametrize("way", [pytest.param("sync", marks=pytest.mark.matrix), "async"])
async def test_after_warm_up_concurrent_requests_find_the_prefix(
    server: RunningServer, way: str
) -> None:
    """Of as many requests as llama.cpp has slots, none computes the prefix again."""
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
async def test_the_prefix_is_computed_once(server: RunningServer, way: str) -> None:
    """The second request finds the first one's prefix, by the server's own count."""
    chat = ChatUrial(llm=server.model(), prompt=unseen_prompt(), max_tokens=4)
    cached = [server.cached_tokens()]
    for question in ("Say one.", "Name a fruit."):
        if way == "sync":
            chat.invoke(question)
        else:
            await chat.ainvoke(question)
        cached.append(server.cached_tokens())
    assert cached[1] - cached[0] < 128
    assert cached[2] - cached[1] >= 256


async def test_a_new_prefix_is_not_in_the_cache(server: RunningServer) -> None:
    """The counts of the other tests here are not accidental."""
    chat = ChatUrial(llm=server.model(), prompt=unseen_prompt(), max_tokens=4)
    reply = await chat.ainvoke("Say one.")
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_token_details"]["cache_read"] < 128


def test_warm_up_copies_the_prefix_between_slots(tmp_path: Path) -> None:
    """llama.cpp computes it in its first slot only, and all four find it."""
    pytest.importorskip("xllamacpp", reason="needs the extra llamacpp")
    server = LlamaServer(tmp_path, options=["--slots", "4"])
    try:
        model, prompt = server.model(), unseen_prompt()
        prefix = model.count_tokens(prompt.prefix)
        assert model.server().slots == 4
        model.warm(prompt)
        assert list(tmp_path.glob("urial-*.bin"))
        assert prefix <= server.counter("llamacpp:prompt_tokens_total") < prefix + 64
        chat = ChatUrial(llm=model, prompt=prompt, max_tokens=12)
        replies = chat.batch([f"Say {word}." for word in ("one", "two", "three", "four")])
    finally:
        server.kill()
    for reply in replies:
        assert reply.usage_metadata is not None
        assert reply.usage_metadata["input_token_details"]["cache_read"] >= prefix - 8
