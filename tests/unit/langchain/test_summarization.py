"""Summaries of long conversations by LangChain's own middleware."""

from __future__ import annotations

import json

import pytest
from fake_models import END, EnglishModel
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool

from langchain_urial import ChatUrial

agents = pytest.importorskip("langchain.agents")
middleware = pytest.importorskip("langchain.agents.middleware")

TRIGGERS = pytest.mark.parametrize("trigger", [("fraction", 0.8), ("tokens", 1000)])
CALL = json.dumps({"name": "get_weather", "arguments": {"city": "Paris"}})
LONG = "Tell me of the harbour. " * 170
"""About 1000 tokens."""


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}."


def conversation(trigger: tuple[str, float], *questions: str) -> tuple[list[BaseMessage], int]:
    """Have an agent with a tool answer questions; return its messages, and how many summaries."""
    model = EnglishModel(f"# Tool call:\n````\n{CALL}{END}", f"# Answer:\n````\nIt is sunny.{END}")
    writer = EnglishModel(f"A summary.{END}")
    summary = middleware.SummarizationMiddleware(
        ChatUrial(llm=writer, context_window=3072), trigger=trigger, keep=("messages", 1)
    )
    chat = ChatUrial(llm=model, context_window=3072)
    agent = agents.create_agent(chat, [get_weather], middleware=[summary])
    messages = list[BaseMessage]()
    for question in questions:
        messages = agent.invoke({"messages": [*messages, ("human", question)]})["messages"]
    return messages, len(writer.requests)


@TRIGGERS
def test_a_short_conversation_is_kept_as_it_is(trigger: tuple[str, float]) -> None:
    """The prompt prefix and the tool examples, which usage reports too, do not count as its own."""
    messages, summaries = conversation(trigger, "Is it sunny?", "And now?", "And in Rome?")
    assert summaries == 0
    assert [message.text for message in messages if message.type == "human"] == [
        "Is it sunny?",
        "And now?",
        "And in Rome?",
    ]
    assert messages[-1].usage_metadata["total_tokens"] > 1500


@TRIGGERS
def test_a_long_conversation_is_summarised(trigger: tuple[str, float]) -> None:
    """LangChain's own count of the messages reaches the limit before the window is full."""
    messages, summaries = conversation(trigger, LONG, "And now?")
    assert summaries > 0
    assert "A summary." in messages[0].text
    assert LONG not in [message.text for message in messages]
    assert messages[-1].text == "It is sunny."
