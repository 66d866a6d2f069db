"""Chains and agents of LangChain's around the real base model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_urial import ChatUrial
from urial_core.backends.transformers import TransformersModel

pytestmark = pytest.mark.model

QUESTIONS = ["What color is the sky?", "How many days are in a week?", "Name a fruit."]


@pytest.fixture
def chat(demo_model: TransformersModel) -> ChatUrial:
    """Return a greedy chat model with a short prompt and short replies."""
    return ChatUrial(llm=demo_model, prompt="short", max_tokens=10, temperature=0)


@pytest.fixture
def chain(chat: ChatUrial) -> Runnable[Any, str]:
    """The usual chain."""
    template = [("system", "Answer in one sentence."), ("human", "{question}")]
    return ChatPromptTemplate.from_messages(template) | chat | StrOutputParser()


@pytest.mark.matrix
async def test_a_chain_writes_the_same_in_every_way(chain: Runnable[Any, str]) -> None:
    """invoke, stream and batch, sync and async, give the same greedy text for each question."""
    inputs = [{"question": question} for question in QUESTIONS]
    alone = [chain.invoke(item) for item in inputs]
    assert all(alone)
    assert len(set(alone)) == len(alone)
    assert chain.batch(inputs) == alone
    assert await chain.abatch(inputs) == alone
    assert ["".join(chain.stream(item)) for item in inputs] == alone
    assert await chain.ainvoke(inputs[0]) == alone[0]
    assert "".join([piece async for piece in chain.astream(inputs[0])]) == alone[0]


@pytest.mark.matrix
def test_an_agent_without_tools_answers(chat: ChatUrial) -> None:
    """LangChain's ``create_agent`` runs on the chat model, and its last message is the reply."""
    from langchain.agents import create_agent

    agent = create_agent(chat, tools=[], system_prompt="Answer in one sentence.")
    state = agent.invoke({"messages": [("human", QUESTIONS[0])]})
    message = state["messages"][-1]
    assert isinstance(message, AIMessage)
    expected = chat.invoke([("system", "Answer in one sentence."), ("human", QUESTIONS[0])])
    assert message.text == expected.text


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
def test_a_conversation_reuses_what_was_read_before(chat: ChatUrial) -> None:
    """Turn by turn, the history is not computed again: ``cache_read`` grows with it."""
    history = InMemoryChatMessageHistory()
    template = ChatPromptTemplate.from_messages([MessagesPlaceholder("past"), ("human", "{input}")])
    remembering: Any = RunnableWithMessageHistory(
        template | chat,
        lambda: history,
        input_messages_key="input",
        history_messages_key="past",
        history_factory_config=[],
    )
    chat.invoke("Hello")  # reads the prompt prefix
    read = list[int]()
    for question in QUESTIONS:
        usage = remembering.invoke({"input": question}).usage_metadata
        known = usage["input_token_details"]["cache_read"]
        assert usage["input_tokens"] - known < 40
        read.append(known)
    assert read == sorted(set(read))
    assert read[0] >= chat.prefix_tokens - 5
    assert len(history.messages) == 6


def test_log_probabilities_are_those_of_the_replys_tokens(chat: ChatUrial) -> None:
    """Each token has one, none is above 0, and greedy tokens are the best of their alternatives."""
    message = chat.invoke(QUESTIONS[0], top_logprobs=3, repetition_penalty=1.0)
    content = message.response_metadata["logprobs"]["content"]
    assert "".join(item["token"] for item in content).strip() == message.text
    assert all(item["logprob"] <= 0 for item in content)
    assert all(len(item["top_logprobs"]) == 3 for item in content)
    assert all(item["top_logprobs"][0]["token"] == item["token"] for item in content)
    assert "logprobs" not in chat.invoke(QUESTIONS[0]).response_metadata


@pytest.mark.matrix
def test_several_sampled_replies_are_repeatable(chat: ChatUrial) -> None:
    """With a seed, ``n`` replies differ from one another and are the same the next time."""
    messages = [chat._convert_input(QUESTIONS[2]).to_messages()]
    twice = [
        [g.text for g in chat.generate(messages, n=3, seed=7, temperature=1.0).generations[0]]
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
    assert len(set(twice[0])) > 1
    other = chat.generate(messages, n=3, seed=70, temperature=1.0).generations[0]
    assert [generation.text for generation in other] != twice[0]
