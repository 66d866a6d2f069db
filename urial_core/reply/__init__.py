"""Reply: from the model's raw text to what the user gets.

Four small readers, each with ``feed(text) -> text`` and ``flush() -> text``, none doing any I/O:

    raw text -> PromptEcho -> SectionReader -> StopReader -> WhitespaceTrimmer -> text

``ReplyReader`` runs them in a row and says why the reply ended; ``ReplyAssembler`` adds what the
engine reports (tokens, log-probabilities) and makes the events of a stream or a whole ``Reply``.
"""

from urial_core.reply.assembler import ReplyAssembler
from urial_core.reply.reader import ReplyReader
from urial_core.reply.values import (
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
    "Reply",
    "ReplyAssembler",
    "ReplyEnd",
    "ReplyReader",
    "TextDelta",
    "ToolCallDelta",
]
