"""Translation: LlamaIndex's messages to the core's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.output_parsers import PydanticOutputParser
from pydantic import BaseModel

from llamaindex_urial.responses import reply_message
from llamaindex_urial.translation import core_messages
from urial_core import Message, ToolCall
from urial_core.errors import UnsupportedContentError


def message_of(role: str, *blocks: Any, **additional: Any) -> ChatMessage:
    """A message."""
    return ChatMessage(role=role, blocks=list(blocks), additional_kwargs=additional)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (MessageRole.SYSTEM, "system"),
        (MessageRole.DEVELOPER, "system"),
        (MessageRole.USER, "user"),
        (MessageRole.ASSISTANT, "assistant"),
        (MessageRole.CHATBOT, "assistant"),
        (MessageRole.MODEL, "assistant"),
        (MessageRole.TOOL, "tool"),
        (MessageRole.FUNCTION, "tool"),
    ],
)
def test_every_role_is_translated(role: MessageRole, expected: str) -> None:
    """Each of LlamaIndex's roles is one of the core's."""
    assert core_messages([ChatMessage(role=role, content="x")])[0].role == expected
    assert set(MessageRole) == {
        *(MessageRole.SYSTEM, MessageRole.DEVELOPER, MessageRole.USER, MessageRole.ASSISTANT),
        *(MessageRole.CHATBOT, MessageRole.MODEL, MessageRole.TOOL, MessageRole.FUNCTION),
    }


def test_blocks_of_text_are_lines() -> None:
    """Texts follow each other as ``ChatMessage.content`` has it; thoughts are left out."""
    message = message_of(
        "user",
        TextBlock(text="one"),
        ThinkingBlock(content="hm"),
        CachePoint(cache_control={"type": "ephemeral"}),
        CitableBlock(title="t", source="s", content=[TextBlock(text="two")]),
    )
    assert core_messages([message]) == [Message("user", "one\ntwo")]


def test_content_other_than_text_is_refused() -> None:
    """An image is an error, and not silently left out."""
    message = message_of("user", TextBlock(text="What is this?"), ImageBlock(image=b"png"))
    with pytest.raises(UnsupportedContentError, match="a ImageBlock: base models read text only"):
        core_messages([message])


def test_documents_that_are_text_are_read(tmp_path: Path) -> None:
    """A document is a paragraph under its title: from its data, a file or a ``data:`` URL."""
    (tmp_path / "a.md").write_text("# Bees", encoding="utf-8")
    message = message_of(
        "user",
        TextBlock(text="Q?"),
        DocumentBlock(data=b"x;1", document_mimetype="text/csv", title="Table"),
        DocumentBlock(path=tmp_path / "a.md"),
        DocumentBlock(url="data:text/plain,a%20b"),
        CitableBlock(title="t", source="s", content=[DocumentBlock(data=b"cited")]),
    )
    expected = "Q?\n\nTable:\nx;1\n\n# Bees\n\na b\n\ncited"
    assert core_messages([message]) == [Message("user", expected)]


@pytest.mark.parametrize(
    "block",
    [
        ImageBlock(image=b"png"),
        AudioBlock(audio=b"wav", format="wav"),
        VideoBlock(video=b"mp4"),
        DocumentBlock(data=b"%PDF\x00\x01", document_mimetype="application/pdf"),
        DocumentBlock(data=bytes(9)),
        DocumentBlock(url="https://a.b/c.txt"),
    ],
)
def test_a_tools_result_describes_what_is_no_text(block: Any) -> None:
    """A binary is an error in a message, and a line of text in a tool's result."""
    with pytest.raises(UnsupportedContentError, match="read text only"):
        core_messages([message_of("user", block)])
    [result] = core_messages([message_of("tool", TextBlock(text="7"), block, tool_call_id="1")])
    assert result.text.startswith("7\n\n[")
    assert result.text.endswith(": this model reads text only]")


def test_authors_are_kept() -> None:
    """The name that other LLMs read from ``additional_kwargs`` is the message's author."""
    message = message_of("assistant", TextBlock(text="A plan."), name="planner")
    assert core_messages([message]) == [Message("assistant", "A plan.", name="planner")]


def test_a_call_without_an_id_is_answered_by_its_tools_name() -> None:
    """LlamaIndex's agents refer to such a call by the tool's name."""
    block = ToolCallBlock(tool_name="weather", tool_kwargs={})
    [message] = core_messages([message_of("assistant", block)])
    assert message.tool_calls == (ToolCall("weather", "{}", "weather"),)


@pytest.mark.parametrize("arguments", [{"city": "東京"}, '{"city": "東京"}'])
def test_calls_are_read_from_blocks(arguments: Any) -> None:
    """A message may hold nothing but calls; their arguments may be a dictionary or text."""
    block = ToolCallBlock(tool_call_id="1", tool_name="weather", tool_kwargs=arguments)
    expected = Message("assistant", "", tool_calls=(ToolCall("weather", '{"city": "東京"}', "1"),))
    assert core_messages([message_of("assistant", block)]) == [expected]


def test_calls_of_older_histories_are_read_once() -> None:
    """Where blocks and ``additional_kwargs`` both hold the calls, they are not doubled."""
    written = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    old = message_of("assistant", TextBlock(text="Let me see."), tool_calls=[written])
    new = reply_message("Let me see.", [ToolCall("weather", '{"city": "Rome"}', "1")])
    assert core_messages([old]) == core_messages([new])
    assert len(core_messages([new])[0].tool_calls) == 1


def test_a_result_says_which_call_it_answers() -> None:
    """LlamaIndex's agents name the call by its id, and the tool not at all."""
    message = message_of("tool", TextBlock(text="sunny"), tool_call_id="1")
    assert core_messages([message]) == [Message("tool", "sunny", tool_call_id="1")]


class Song(BaseModel):
    """A song."""

    title: str
    years: dict[str, int]


def test_a_schema_is_shown_with_single_braces() -> None:
    """LlamaIndex doubles the braces of its format instructions; the model must not see that."""
    query = PydanticOutputParser(output_cls=Song).format("Write {a song} about {{braces}}.")
    assert '"properties": {{"title"' in query
    text = core_messages([ChatMessage(content=query)])[0].text
    shown = text.partition("follow:\n")[2].partition("\n")[0]
    assert json.loads(shown) == Song.model_json_schema()
    assert text.startswith("Write {a song} about {{braces}}.")


@pytest.mark.parametrize("arguments", ['{"city": "Ro', "[1]", "", None])
def test_invalid_arguments_of_a_history_are_empty(arguments: Any) -> None:
    """Half a call in the history, of a stream that was closed, does not stop the next turn."""
    written = {"id": "1", "function": {"name": "weather", "arguments": arguments}}
    [message] = core_messages([message_of("assistant", tool_calls=[written])])
    assert message.tool_calls == (ToolCall("weather", "{}", "1"),)
