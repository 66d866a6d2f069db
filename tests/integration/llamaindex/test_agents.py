"""Agents and workflows of LlamaIndex's around the real base model."""

from __future__ import annotations

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from llamaindex_urial import UrialLLM
from urial_core.backends.llama_cpp import LlamaCppModel

pytestmark = pytest.mark.model


def opening_hours(day: str) -> str:
    """The library's opening hours on a day of the week."""
    return "10:00 to 16:00" if day.lower().startswith("sat") else "9:00 to 19:00"


@pytest.mark.matrix
async def test_a_react_agent_does_not_invent_what_its_tools_say(
    llama: LlamaCppModel,
) -> None:
    """The model stops where the tool is to speak; what it writes is read, tools run or not."""
    llm = UrialLLM(llm=llama, max_tokens=80, is_function_calling_model=False)
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


def multiply(a: float, b: float) -> float:
    """Multiply two numbers and return the product."""
    return a * b


def divide(a: float, b: float) -> float:
    """Divide one number by another and return the quotient."""
    return a / b


async def run(
    agent: FunctionAgent | AgentWorkflow, question: str, llm: UrialLLM
) -> tuple[AgentOutput, list[ToolCallResult], str]:
    """The agent's output, its tools' results, and all text that it streamed."""
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    handler = agent.run(question, memory=memory, max_iterations=6)
    results, streamed = list[ToolCallResult](), ""
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            results.append(event)
        elif isinstance(event, AgentStream):
            streamed += event.delta
    return await handler, results, streamed


async def test_a_function_agent_calls_a_tool_and_answers(llama: LlamaCppModel) -> None:
    """An untuned 270M model decides to call, copies the numbers, and reports the result."""
    llm = UrialLLM(llm=llama, max_tokens=80)
    agent = FunctionAgent(tools=[multiply, divide], llm=llm)
    output, results, streamed = await run(agent, "Multiply 12 by 7.", llm)
    assert results
    assert results[0].tool_name == "multiply"
    assert results[0].tool_kwargs == {"a": 12, "b": 7}
    assert (output.response.content or "").strip()
    assert not any(leak in streamed for leak in ("````", "# Tool", '"name"'))


@pytest.mark.matrix
async def test_an_error_of_a_tool_comes_back_and_the_loop_goes_on(
    llama: LlamaCppModel,
) -> None:
    """A tool's failure reaches the model as its result, and the agent still answers."""
    llm = UrialLLM(llm=llama, max_tokens=80)
    agent = FunctionAgent(tools=[divide], llm=llm, initial_tool_choice="divide")
    output, results, _ = await run(agent, "What is 5 divided by 0?", llm)
    assert results[0].tool_output.is_error
    assert (output.response.content or "").strip()


@pytest.mark.matrix
async def test_agents_hand_over_to_each_other(llama: LlamaCppModel) -> None:
    """A hand-off is a tool call: the agent that it names answers."""
    llm = UrialLLM(llm=llama, max_tokens=400)
    desk = FunctionAgent(
        name="desk",
        description="Takes questions and hands them over.",
        llm=llm,
        can_handoff_to=["mathematician"],
        initial_tool_choice="handoff",
    )
    mathematician = FunctionAgent(
        name="mathematician", description="Multiplies numbers.", tools=[multiply], llm=llm
    )
    workflow = AgentWorkflow(agents=[desk, mathematician], root_agent="desk")
    output, results, _ = await run(workflow, "What is 12 times 7?", llm)
    assert results[0].tool_name == "handoff"
    if results[0].tool_kwargs["to_agent"] == "mathematician":  # the model names it, or does not
        assert output.current_agent_name == "mathematician"
    assert (output.response.content or "").strip()


def test_a_tool_is_predicted_and_called(llama: LlamaCppModel) -> None:
    """``predict_and_call`` runs the tool that the model was made to call."""
    llm = UrialLLM(llm=llama, max_tokens=80)
    tool = FunctionTool.from_defaults(multiply)
    response = llm.predict_and_call([tool], "What is 12 times 7?", tool_required=True)
    assert str(response.sources[0].raw_output) == str(response)


@pytest.mark.matrix
def test_a_tool_is_predicted_without_function_calls(llama: LlamaCppModel) -> None:
    """``predict_and_call`` with ReAct passes what LlamaIndex leaves out."""
    llm = UrialLLM(llm=llama, max_tokens=80, is_function_calling_model=False)
    tool = FunctionTool.from_defaults(multiply)
    response = llm.predict_and_call([tool], user_msg="What is 12 times 7?")
    assert "validation error" not in str(response)


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
    llm.complete("What color is the sky?")  # from now on all but its last token is cached
    first, second = await workflow.run(question="What color is the sky?")
    assert first == llm.complete("What color is the sky?").text
    assert second
    assert second != first


def test_tokens_are_counted_as_the_model_counts_them(llama: LlamaCppModel) -> None:
    """TokenCountingHandler reports the model's own usage, the prefix included, once a call."""
    counter = TokenCountingHandler()
    llm = UrialLLM(
        llm=llama, prompt="short", max_tokens=8, callback_manager=CallbackManager([counter])
    )
    usage = llm.complete("Name a fruit.").raw["usage"]
    assert counter.prompt_llm_token_count == usage["prompt_tokens"] > llm.prefix_tokens
    assert counter.completion_llm_token_count == usage["completion_tokens"]
    list(llm.stream_chat([ChatMessage(role="user", content="Name a fruit.")]))
    assert len(counter.llm_token_counts) == 2
    assert counter.prompt_llm_token_count == 2 * usage["prompt_tokens"]
