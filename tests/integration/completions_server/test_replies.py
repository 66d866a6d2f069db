"""Replies of a real server, through every method."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from running_server import RunningServer

from langchain_urial import ChatUrial
from urial_core import Message
from urial_core.backends.completions_server import CompletionsServerModel
from urial_core.errors import UnsupportedModelError

pytestmark = [pytest.mark.server, pytest.mark.model, pytest.mark.matrix]

QUESTIONS = ["What color is the sky?", "Name a fruit.", "Who wrote Hamlet?", "What is 2 plus 2?"]
WAYS = [
    "invoke",
    "astream",
    *(
        pytest.param(way, marks=pytest.mark.matrix)
        for way in ("ainvoke", "stream", "batch", "abatch")
    ),
]


async def ask(chat: ChatUrial, way: str, question: str, **kwargs: Any) -> AIMessage:
    """Return one reply, through one of the ``WAYS``."""
    match way:
        case "invoke":
            return await asyncio.to_thread(chat.invoke, question, **kwargs)
        case "ainvoke":
            return await chat.ainvoke(question, **kwargs)
        case "batch":
            return (await asyncio.to_thread(chat.batch, [question], **kwargs))[0]
        case "abatch":
            return (await chat.abatch([question], **kwargs))[0]
        case "stream":
            chunks = await asyncio.to_thread(lambda: list(chat.stream(question, **kwargs)))
        case _:
            chunks = [chunk async for chunk in chat.astream(question, **kwargs)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@pytest.mark.parametrize("way", WAYS)
async def test_every_method_gives_a_clean_and_complete_reply(chat: ChatUrial, way: str) -> None:
    """Text without delimiters, one finish reason, one usage, the server's model name."""
    reply = await ask(chat, way, QUESTIONS[0])
    assert reply.text.strip() == reply.text != ""
    assert not any(mark in reply.text for mark in ("````", "# Query", "# Answer"))
    metadata = reply.response_metadata
    assert metadata["model_name"] == "gemma"
    assert metadata["finish_reason"] == ("length" if metadata["end_reason"] == "length" else "stop")
    assert metadata["end_reason"] in ("delimiter", "end_of_text", "length")
    usage = reply.usage_metadata
    assert usage is not None
    request = chat._call({}).requests([Message("user", QUESTIONS[0])])[0]
    assert usage["input_tokens"] == chat.get_num_tokens(request.prompt)
    assert 0 < usage["output_tokens"] <= 24


@pytest.mark.parametrize("way", WAYS)
async def test_a_stop_string_ends_a_reply(chat: ChatUrial, way: str) -> None:
    """It is left out of the text and named in the metadata, though the server met it."""
    reply = await ask(chat, way, "Name a fruit.", stop=["a", "e", "i", "o"])
    assert not set("aeio") & set(reply.text)
    assert reply.response_metadata["end_reason"] == "stop_string"
    assert reply.response_metadata["stop_sequence"] in [*"aeio"]


@pytest.mark.parametrize("way", ["invoke", "astream"])
async def test_the_prefix_is_computed_once(chat: ChatUrial, way: str) -> None:
    """The second request finds the prompt prefix in the cache, and reports that."""
    await ask(chat, way, QUESTIONS[0])
    reply = await ask(chat, way, QUESTIONS[0])
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_token_details"]["cache_read"] >= 128


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_a_batch_has_a_reply_and_usage_for_each(chat: ChatUrial, way: str) -> None:
    """Replies come in order, each with its own tokens."""
    if way == "batch":
        replies = await asyncio.to_thread(chat.batch, QUESTIONS)
    else:
        replies = await chat.abatch(QUESTIONS)
    for question, reply in zip(QUESTIONS, replies, strict=True):
        request = chat._call({}).requests([Message("user", question)])[0]
        assert reply.usage_metadata is not None
        assert reply.usage_metadata["input_tokens"] == chat.get_num_tokens(request.prompt)
        assert reply.text


async def test_samples_of_one_request_differ(chat: ChatUrial) -> None:
    """Two replies to one request have seeds of their own."""
    result = await chat.agenerate([[HumanMessage("Tell a story.")]], n=2, temperature=1.2, seed=3)
    one, two = result.generations[0]
    assert one.text != two.text


@pytest.mark.parametrize("way", ["invoke", "stream"])
async def test_log_probabilities_belong_to_the_text(chat: ChatUrial, way: str) -> None:
    """The tokens make up the reply, each with as many alternatives as requested."""
    reply = await ask(chat, way, QUESTIONS[1], top_logprobs=2)
    tokens = reply.response_metadata["logprobs"]["content"]
    assert "".join(item["token"] for item in tokens).strip().startswith(reply.text)
    assert all(item["logprob"] <= 0 for item in tokens)
    assert {len(item["top_logprobs"]) for item in tokens} == {2}


def test_one_model_serves_one_event_loop_after_another(
    chat: ChatUrial, caplog: pytest.LogCaptureFixture
) -> None:
    """Each loop of ``asyncio.run`` has its connections, and leaves none open."""
    for _ in range(3):
        assert asyncio.run(chat.ainvoke(QUESTIONS[0])).text
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_the_server_reports_its_window_and_tokens(model: CompletionsServerModel) -> None:
    """Counts include the begin-of-text token, as the prompt's will."""
    assert model.context_window == 2048
    assert model.tokenizer is not None
    assert model.count_tokens("Hello there") == 3
    assert model.tokenizer is not None
    assert model.tokenizer("Hello there")[0] == 2


def test_special_tokens_in_a_message_stay_text(chat: ChatUrial) -> None:
    """A user who spells out the end-of-text token does not inject one."""
    if not chat.llm.server().dialect.tokenizes_as_text:
        pytest.skip("this kind of server reads special tokens out of texts")
    assert chat.get_num_tokens("<eos>") > 2
    reply = chat.invoke("What is <eos> in a sentence?")
    request = chat._call({}).requests([Message("user", "What is <eos> in a sentence?")])[0]
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_tokens"] == chat.get_num_tokens(request.prompt)
    assert reply.text


def test_a_model_that_is_not_served_is_an_error(server: RunningServer) -> None:
    """An invalid name is reported at the first use, with the valid names."""
    chat = ChatUrial.from_endpoint(server.base_url, "gpt-5", prompt="short")
    with pytest.raises(UnsupportedModelError, match="serves 'gemma'"):
        chat.invoke("Hi")
