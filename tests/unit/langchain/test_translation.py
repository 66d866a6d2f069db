"""Translation: LangChain's messages to the prompt, and the reply to LangChain's messages."""

from __future__ import annotations

from typing import Any

import pytest
from fake_models import END, JUNK, PROMPT, ReportingModel, chat_of
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from langchain_urial import ChatUrial
from langchain_urial.translation import core_messages
from urial_core import CompletionChunk, Message, TokenLogprob, Usage
from urial_core.errors import ConversationError, UnsupportedContentError

LOGPROBS = (
    TokenLogprob("\n", -0.1),
    TokenLogprob("Hé", -0.5, (("Hé", -0.5), ("Ha", -1.5))),
    TokenLogprob("llo", -0.25),
    TokenLogprob("\n````", -0.2),
)
CHUNKS = (
    CompletionChunk("\n", logprobs=LOGPROBS[:1]),
    CompletionChunk("Hé", logprobs=LOGPROBS[1:2]),
    CompletionChunk("llo", logprobs=LOGPROBS[2:3], usage=Usage(9, 3, 5)),
    CompletionChunk(END, finish="stop", logprobs=LOGPROBS[3:], usage=Usage(10, 4, 6)),
)


def merged(chat: ChatUrial, **kwargs: Any) -> tuple[list[AIMessageChunk], AIMessageChunk]:
    """A stream's chunks, and their sum."""
    chunks = list(chat.stream("Hi", **kwargs))
    whole = AIMessageChunk(content="")
    for chunk in chunks:
        whole += chunk
    return chunks, whole


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("Rule"), Message("system", "Rule")),
        (HumanMessage("Hi", name="ann"), Message("user", "Hi", name="ann")),
        (AIMessage("Yes", name="planner"), Message("assistant", "Yes", name="planner")),
        (AIMessage("Yes"), Message("assistant", "Yes")),
        (AIMessageChunk(content="Yes"), Message("assistant", "Yes")),
        (
            ToolMessage("7", tool_call_id="1", name="add"),
            Message("tool", "7", name="add", tool_call_id="1"),
        ),
        (FunctionMessage("7", name="add"), Message("tool", "7", name="add")),
        (ChatMessage("Rule", role="system"), Message("system", "Rule")),
        (ChatMessage("Rule", role="Developer"), Message("system", "Rule")),
        (ChatMessage("Hi", role="user"), Message("user", "Hi")),
        (ChatMessage("Yes", role="assistant"), Message("assistant", "Yes")),
        (HumanMessage(["One", "two"]), Message("user", "Onetwo")),
        (HumanMessage([{"type": "text", "text": "One"}]), Message("user", "One")),
        (
            AIMessage([{"type": "reasoning", "reasoning": "Hm"}, {"type": "text", "text": "Yes"}]),
            Message("assistant", "Yes"),
        ),
        (AIMessage([{"type": "thinking", "thinking": "Hm"}, "Yes"]), Message("assistant", "Yes")),
    ],
)
def test_every_kind_of_message_has_its_role_and_text(
    message: BaseMessage, expected: Message
) -> None:
    """A message keeps its role and its text; reasoning is left out."""
    assert core_messages([message]) == [expected]


@pytest.mark.parametrize(
    ("message", "error", "reason"),
    [
        (
            HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}]),
            UnsupportedContentError,
            "human message holds a block of type 'image_url'.*read text only",
        ),
        (ChatMessage("?", role="narrator"), ConversationError, "'narrator' is unknown"),
        (RemoveMessage(id="1"), ConversationError, "'RemoveMessage' is unknown"),
    ],
)
def test_unsupported_content_is_refused_with_the_reason(
    message: BaseMessage, error: type[Exception], reason: str
) -> None:
    """Content other than text is an error with advice, and not silently left out."""
    with pytest.raises(error, match=reason):
        chat_of().invoke([message, HumanMessage("Hi")])


def test_a_conversation_stands_on_the_page_in_order() -> None:
    """The prompt is the constant prefix, each message under its header, then an open answer."""
    chat = chat_of()
    tool = ToolMessage("7", tool_call_id="1", name="add")
    chat.invoke(
        [("system", "Rule"), ("human", "3+4?"), ("ai", "Let me see."), tool, ("human", "So?")]
    )
    [request] = chat.llm.requests
    headers = [
        line for line in request.prompt[request.prefix_length :].splitlines() if line[:2] == "# "
    ]
    assert headers == [
        "# System:",
        "# Query:",
        "# Answer:",
        "# Tool result:",
        "# Query:",
        "# Answer:",
    ]
    assert "# Tool result:\n````\nadd\n7\n````" in request.prompt
    assert request.prompt.startswith(PROMPT.prefix)


def test_a_reply_says_what_it_cost_and_how_it_ended() -> None:
    """A reply carries LangChain's usage and metadata, with the project's own reason beside them."""
    message = ChatUrial(llm=ReportingModel(*CHUNKS), prompt=PROMPT).invoke("Hi")
    assert message.content == "Héllo"
    assert message.usage_metadata == UsageMetadata(
        input_tokens=10,
        output_tokens=4,
        total_tokens=14,
        input_token_details=InputTokenDetails(cache_read=6),
    )
    expected = {
        "finish_reason": "stop",
        "end_reason": "delimiter",
        "model_name": "reporting",
        "model_provider": "urial",
    }
    assert {name: message.response_metadata[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("chunks", "stop", "expected"),
    [
        ([CompletionChunk("A", finish="length")], None, ("length", "length", None)),
        ([CompletionChunk("A", finish="stop")], None, ("stop", "end_of_text", None)),
        ([CompletionChunk(f"A{END}")], None, ("stop", "delimiter", None)),
        ([CompletionChunk(f"A B{END}")], ["B"], ("stop", "stop_string", "B")),
    ],
)
def test_the_reason_of_the_end_is_reported_both_ways(
    chunks: list[CompletionChunk], stop: list[str] | None, expected: tuple[str, str, str | None]
) -> None:
    """finish_reason is OpenAI's word, end_reason the exact one, stop_sequence the user's string."""
    chat = ChatUrial(llm=ReportingModel(*chunks), prompt=PROMPT)
    for message in (chat.invoke("Hi", stop=stop), merged(chat, stop=stop)[1]):
        metadata = message.response_metadata
        found = (metadata["finish_reason"], metadata["end_reason"], metadata.get("stop_sequence"))
        assert found == expected


def test_log_probabilities_have_the_shape_of_the_openai_api() -> None:
    """Each token of the reply, and no token of its format, is in ``logprobs["content"]``."""
    chat = ChatUrial(llm=ReportingModel(*CHUNKS), prompt=PROMPT, top_logprobs=2)
    content = chat.invoke("Hi").response_metadata["logprobs"]["content"]
    assert [item["token"] for item in content] == ["Hé", "llo"]
    assert content[0] == {
        "token": "Hé",
        "bytes": [72, 195, 169],
        "logprob": -0.5,
        "top_logprobs": [
            {"token": "Hé", "bytes": [72, 195, 169], "logprob": -0.5},
            {"token": "Ha", "bytes": [72, 97], "logprob": -1.5},
        ],
    }


def test_a_stream_adds_up_to_the_whole_reply() -> None:
    """The sum of a stream's chunks equals what ``invoke`` returns, metadata included."""
    chat = ChatUrial(llm=ReportingModel(*CHUNKS), prompt=PROMPT, logprobs=True)
    chunks, whole = merged(chat)
    message = chat.invoke("Hi")
    for name in ("content", "response_metadata", "usage_metadata", "tool_calls"):
        assert getattr(whole, name) == getattr(message, name), name
    assert [chunk.content for chunk in chunks] == ["Hé", "llo", ""]


def test_metadata_comes_once_with_the_last_chunk() -> None:
    """Only the last chunk says so, and only it has usage and the reasons: merging adds strings."""
    chunks, _ = merged(chat_of(["Hel", "lo", END, JUNK]))
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    for name in ("finish_reason", "model_name", "end_reason"):
        assert [name in chunk.response_metadata for chunk in chunks].count(True) == 1
    assert [chunk.usage_metadata is not None for chunk in chunks].count(True) == 1


def test_dropped_messages_are_counted() -> None:
    """Where the conversation was shortened, the metadata says by how many messages."""
    chat = chat_of(
        overflow="truncate", context_window=len(PROMPT.prefix.split()) + 100, max_tokens=64
    )
    turns = [("human", "word " * 30), ("ai", "Yes"), ("human", "And?")]
    assert chat.invoke(turns).response_metadata["truncated_messages"] == 2
    assert "truncated_messages" not in chat.invoke("Hi").response_metadata
