"""Which parts of a prompt DRY keeps a reply from copying."""

from __future__ import annotations

from urial_core import Message, Tool, ToolCall, ToolUse, compose, load_prompt

PROMPT = load_prompt("short")


def spans_of(*messages: Message, tools: ToolUse | None = None) -> list[str]:
    request = compose(PROMPT, messages, tools=tools)
    return [request.prompt[start:end] for start, end in request.own_spans]


def test_they_are_the_prefix_and_the_earlier_replies() -> None:
    """The prompt prefix and each assistant turn are marked; what users and rules say is not."""
    found = spans_of(
        Message("system", "Be brief."),
        Message("user", "One?"),
        Message("assistant", "First reply."),
        Message("user", "Two?"),
        Message("assistant", "Second\n# Query:\nreply."),
        Message("user", "Three?"),
    )
    written = [PROMPT.format.turn("assistant", "First reply.")]
    written.append(PROMPT.format.turn("assistant", "Second\n\\# Query:\nreply."))
    assert found == [PROMPT.prefix, *written]


def test_tools_calls_and_results_are_free() -> None:
    """Tool examples, tools, calls and their results may be copied."""
    tool = Tool("find", "Finds.", '{"type": "object", "properties": {}}')
    found = spans_of(
        Message("user", "Find it."),
        Message("assistant", "", tool_calls=(ToolCall("find", "{}", "1"),)),
        Message("tool", "It is there.", tool_call_id="1"),
        tools=ToolUse((tool,)),
    )
    assert found == [PROMPT.prefix]
