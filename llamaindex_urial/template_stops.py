"""Stops that LlamaIndex's own templates call for, and that LlamaIndex does not send.

Its templates were written for completion models too, with labels of their own in the text. A base
model that answers goes on with those labels and speaks for others: it asks the next question, or
tells what a tool observed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, MessageRole

__all__ = ["template_stops"]

_QUESTION = re.compile(r"^Query:.*\nAnswer:\s*\Z", re.DOTALL | re.MULTILINE)
"""How the question answering templates end (``llama_index.core.prompts.chat_prompts``)."""


def template_stops(messages: Sequence[ChatMessage]) -> tuple[str, ...]:
    """The strings at which a reply to these messages ends, beside those that were asked for."""
    stops = list[str]()
    if any(
        "Action Input:" in text and "Observation:" in text
        for message in messages
        if message.role == MessageRole.SYSTEM and (text := message.content)
    ):
        stops.append("\nObservation:")  # the ReAct agent's own header
    if messages and _QUESTION.search(messages[-1].content or ""):
        stops.append("\nQuery:")
    return tuple(stops)
