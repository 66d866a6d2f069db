"""Content blocks of LangChain's messages: what is text is read, whoever wrote it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, ToolMessage
from langchain_core.messages.content import create_file_block, create_plaintext_block

from langchain_urial.translation import core_messages
from urial_core.errors import UnsupportedContentError

PNG = b64encode(b"\x89PNG" + bytes(12_000)).decode()
CSV = b64encode("é;1".encode()).decode()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (["One ", {"type": "text", "text": "two"}], "One two"),
        (
            [
                {"type": "text", "text": "A", "annotations": [{}]},
                {"type": "refusal", "refusal": "B"},
            ],
            "AB",
        ),
        ([{"type": "output_text", "text": "A"}, {"type": "input_text", "text": "B"}], "AB"),
        ([{"text": "A"}, {"cachePoint": {"type": "default"}}], "A"),
        (["Q?", create_plaintext_block(text="Bees.", title="a.txt")], "Q?\n\na.txt:\nBees."),
        (["Q?", create_file_block(base64=CSV, mime_type="text/csv"), "R?"], "Q?\n\né;1\n\nR?"),
        ([create_file_block(base64=CSV, mime_type="application/json")], "é;1"),
        ([{"type": "file", "source_type": "text", "text": "x", "mime_type": "text/plain"}], "x"),
        ([{"type": "file", "source_type": "base64", "data": CSV, "mime_type": "text/x"}], "é;1"),
        (
            [{"type": "file", "file": {"filename": "a", "file_data": f"data:;base64,{CSV}"}}],
            "a:\né;1",
        ),
        ([{"type": "input_file", "file_data": "data:text/plain,a%20b"}], "a b"),
        ([{"type": "media", "mime_type": "text/plain; charset=latin-1", "data": b"\xe9"}], "é"),
        ([{"type": "media", "mime_type": "text/plain; charset=undefined", "data": b"\xe9"}], "é"),
        ([{"type": "media", "mime_type": "text/plain; charset=idna", "data": b"\xc3\xa9"}], "é"),
        ([{"type": "media", "mime_type": "text/plain; charset=punycode", "data": b"\xe9"}], "é"),
        ([{"type": "document", "source": {"type": "text", "data": "x"}}], "x"),
        (
            [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "text/x", "data": CSV},
                }
            ],
            "é;1",
        ),
        ([{"type": "document", "source": {"type": "content", "content": [{"text": "x"}]}}], "x"),
        ([{"document": {"name": "n", "format": "txt", "source": {"bytes": b"x"}}}], "n:\nx"),
        ([{"type": "search_result", "title": "t", "content": [{"text": "x"}]}], "t:\nx"),
        ([{"type": "guard_content", "guard_content": {"text": {"text": "x"}}}], "x"),
        ([{"type": "non_standard", "value": {"type": "text", "text": "x"}}], "x"),
        (
            [{"type": "resource", "resource": {"uri": "a:b", "mimeType": "text/x", "text": "x"}}],
            "x",
        ),
    ],
)
def test_text_is_read_whoever_wrote_it(content: list[Any], text: str) -> None:
    """Texts are joined as ``message.text`` does; files that are text are paragraphs."""
    [message] = core_messages([HumanMessage(content)])
    assert message.text == text


@pytest.mark.parametrize(
    "block",
    [
        {"type": "reasoning", "reasoning": "Hm", "extras": {"signature": "x"}},
        {"type": "thinking", "thinking": "Hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reasoning_content", "reasoning_content": {"text": "Hm"}},
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": [{"title": "x"}]},
        {"type": "server_tool_call", "id": "1", "name": "web_search", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "1", "status": "success", "output": "x"},
        {"type": "web_search_call", "id": "1", "status": "completed"},
        {"type": "image_generation_call", "result": PNG},
        {"type": "executable_code", "executable_code": "print()", "language": "python"},
        {"type": "non_standard", "value": {"type": "mcp_list_tools", "tools": []}},
        {"reasoningContent": {"reasoningText": {"text": "Hm"}}},
    ],
)
def test_what_other_models_left_in_a_history_is_left_out(block: dict[str, Any]) -> None:
    """Reasoning and a provider's own tools are no error, and no text of the conversation."""
    for message in (AIMessage([block, "Yes."]), ChatMessage([block, "Yes."], role="assistant")):
        assert [part.text for part in core_messages([message])] == ["Yes."]


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            "image/png, 12 kB",
        ),
        ({"type": "image", "base64": b64encode(b"png").decode()}, "image, 3 bytes"),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            "12 kB",
        ),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}, "audio, 12 kB"),
        ({"type": "file", "base64": PNG, "mime_type": "application/pdf"}, "application/pdf, 12 kB"),
        ({"type": "file", "base64": PNG}, "12 kB"),
        ({"type": "file", "base64": "x", "mime_type": "text/plain"}, "text/plain"),
        (
            {"type": "file", "url": "https://a.b/c.txt", "mime_type": "text/plain"},
            "https://a.b/c.txt",
        ),
        ({"type": "image", "mime_type": "image/svg+xml", "base64": CSV}, r"image/svg\+xml"),
    ],
)
def test_what_is_no_text_is_refused(block: dict[str, Any], found: str) -> None:
    """A picture, a binary or a link is an error in a message, and described in a tool's result."""
    kind = f"holds a block of type {block['type']!r}: base models read text only.*{found}"
    with pytest.raises(UnsupportedContentError, match=f"A human message {kind}"):
        core_messages([HumanMessage(["Look:", block])])
    own = ToolMessage(["7", block], tool_call_id="1")
    anthropics = HumanMessage(
        [{"type": "tool_result", "tool_use_id": "1", "content": ["7", block]}]
    )
    for message in (own, anthropics, ChatMessage(["7", block], role="tool")):
        [result] = core_messages([message])
        assert result.role == "tool"
        assert result.text.startswith("7\n\n[")
        assert result.text.endswith(": this model reads text only]")
        assert PNG not in result.text


def test_an_unknown_block_is_refused_or_shown() -> None:
    """What a user's block holds is not guessed; a tool's is shown as JSON."""
    block = {"type": "widget", "value": 1}
    with pytest.raises(UnsupportedContentError, match="a block of type 'widget'"):
        core_messages([HumanMessage([block])])
    [result] = core_messages([ToolMessage(["7", "8", block], tool_call_id="1")])
    assert result.text == '7\n8\n{"type": "widget", "value": 1}'
