"""Agents and workflows of LlamaIndex's around the real base model."""

from __future__ import annotations

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from llamaindex_urial import UrialLLM
from urial_core.backends.transformers import TransformersModel

pytestmark = pytest.mark.model


def opening_hours(day: str) -> str:
    """The library's opening hours on a day of the week."""
    return "10:00 to 16:00" if day.lower().startswith("sat") else "9:00 to 19:00"


async def test_a_react_agent_does_not_invent_what_its_tools_say(
    demo_model: TransformersModel,
) -> None:
    """The model stops where the tool is to speak; what it writes is read, tools run or not."""
    llm = UrialLLM(llm=demo_model, max_tokens=80, is_function_calling_model=False)
    agent = ReActAgent(tools=[opening_hours], llm=llm)
    handler = agent.run(
        "When does the library open on Saturday?",
        memory=ChatMemoryBuffer.from_defaults(llm=llm),
        max_iterations=3,
        early_stopping_method="generate",
    )
    streamed, results = "", list[ToolCallResult]()
    async for event in handler.stream_events():
        if isinstance(event, AgentStream):
            streamed += event.delta
            assert "\nObservation:" not in event.response
        elif isinstance(event, ToolCallResult):
            results.append(event)
    output = await handler
    assert isinstance(output, AgentOutput)
    assert (output.response.content or "").strip()
    assert streamed.strip()
    assert "````" not in streamed
    assert all(result.tool_name for result in results)


class TwoAnswers(Workflow):
    """Asks the model twice, the second time about its first answer."""

    llm: UrialLLM

    @step
    async def ask(self, event: StartEvent) -> StopEvent:
        """Ask and ask again."""
        first = await self.llm.acomplete(str(event.get("question")))
        second = await self.llm.achat(
            [
                ChatMessage(role="user", content=str(event.get("question"))),
                ChatMessage(role="assistant", content=first.text),
                ChatMessage(role="user", content="Why?"),
            ]
        )
        return StopEvent(result=(first.text, second.message.content))


async def test_a_workflow_awaits_its_answers(llm: UrialLLM) -> None:
    """Steps of a workflow call the model, and later turns see the earlier ones."""
    workflow = TwoAnswers(timeout=120)
    workflow.llm = llm
    first, second = await workflow.run(question="What color is the sky?")
    assert first == llm.complete("What color is the sky?").text
    assert second
    assert second != first


def test_tokens_are_counted_as_the_model_counts_them(demo_model: TransformersModel) -> None:
    """TokenCountingHandler reports the model's own usage, the page included, once a call."""
    counter = TokenCountingHandler()
    llm = UrialLLM(
        llm=demo_model, prompt="short", max_tokens=8, callback_manager=CallbackManager([counter])
    )
    usage = llm.complete("Name a fruit.").raw["usage"]
    assert counter.prompt_llm_token_count == usage["prompt_tokens"] > llm.prompt_tokens
    assert counter.completion_llm_token_count == usage["completion_tokens"]
    list(llm.stream_chat([ChatMessage(role="user", content="Name a fruit.")]))
    assert len(counter.llm_token_counts) == 2
    assert counter.prompt_llm_token_count == 2 * usage["prompt_tokens"]
