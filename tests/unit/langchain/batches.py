"""What the tests of batches share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fake_models import PROMPT, EchoModel
from langchain_core.messages import AIMessage

from langchain_urial import ChatUrial

WAYS = ["batch", "abatch"]


def echo(**fields: Any) -> tuple[EchoModel, ChatUrial]:
    """Return a model that repeats the question, and a chat model around it."""
    model = EchoModel(context_window=fields.pop("context_window", None))
    return model, ChatUrial(llm=model, prompt=PROMPT, **fields)


async def run(way: str, chain: Any, inputs: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
    """Answer a batch, sync (within the running loop's thread) or async."""
    inputs = list(inputs)
    if way == "batch":
        return list(chain.batch(inputs, *args, **kwargs))
    return list(await chain.abatch(inputs, *args, **kwargs))


def texts(messages: Sequence[Any]) -> list[Any]:
    """Return the messages' texts; errors as they are."""
    return [message.text if isinstance(message, AIMessage) else message for message in messages]
