"""Reply: from the model's raw text to what the user gets.

Four small readers, each with ``feed(text) -> text`` and ``flush() -> text``, none doing any I/O:

    raw text -> EchoDecoder -> TurnDecoder -> StopDecoder -> WhitespaceTrimmer -> text

``ReplyDecoder`` runs them in a row and says why the reply ended; ``ReplyAssembler`` adds what the
engine reports (tokens, log-probabilities) and makes the events of a stream or a whole ``Reply``.
``ToolReply`` and ``JsonReply`` do the same for replies that take several requests: with tools, and
in a given form. Each is a ``ReplyMaker``; ``start_reply`` says which one a request needs.
"""

from urial_core.decoding.json_reply import JsonReply
from urial_core.decoding.making import ReplyMaker
from urial_core.decoding.reply_decoder import ReplyDecoder
from urial_core.decoding.start import start_reply
from urial_core.decoding.text_reply import ReplyAssembler
from urial_core.decoding.tool_reply import ToolReply
from urial_core.replies import (
    EndReason,
    FinishReason,
    Reply,
    ReplyEnd,
    TextDelta,
    ToolCallDelta,
)

__all__ = [
    "EndReason",
    "FinishReason",
    "JsonReply",
    "Reply",
    "ReplyAssembler",
    "ReplyDecoder",
    "ReplyEnd",
    "ReplyMaker",
    "TextDelta",
    "ToolCallDelta",
    "ToolReply",
    "start_reply",
]
