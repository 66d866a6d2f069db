"""The events of a stream, of a reply that is whole."""

from __future__ import annotations

from collections.abc import Generator

from urial_core.replies import Reply, ReplyEnd, TextDelta, ToolCallDelta

__all__ = ["events_of"]


def events_of(
    item: TextDelta | Reply, emitted: str
) -> Generator[TextDelta | ToolCallDelta | ReplyEnd]:
    """Yield the events for a part of a reply, or for what follows of the whole one.

    Args:
        item: A part that is certain, or the reply.
        emitted: The text that was emitted before.
    """
    if isinstance(item, TextDelta):
        yield item
        return
    if rest := item.text.removeprefix(emitted):
        yield TextDelta(rest, () if emitted else item.logprobs)
    for index, call in enumerate(item.tool_calls):
        yield ToolCallDelta(index, call.id, call.name, call.arguments)
    yield item.end
