"""Start a reply of the kind that a request needs."""

from __future__ import annotations

from urial_core.completion import CompletionModel
from urial_core.composing import ReplyRequest
from urial_core.decoding.json_reply import JsonReply
from urial_core.decoding.making import ReplyMaker
from urial_core.decoding.text_reply import ReplyAssembler
from urial_core.decoding.tool_reply import ToolReply

__all__ = ["start_reply"]


def start_reply(model: CompletionModel, request: ReplyRequest, *, live: bool) -> ReplyMaker:
    """Start the reply to a request.

    Args:
        model: The model.
        request: The request.
        live: Whether somebody reads along, so that what is given out stands.
    """
    if request.tools and request.tools.callable and not request.prefill:
        return ToolReply(model, request, live=live)
    if request.response_format:
        return JsonReply(model, request, live=live)
    return ReplyAssembler(model, request)
