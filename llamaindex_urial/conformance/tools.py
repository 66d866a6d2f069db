"""Calling tools."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import BaseTool, FunctionTool, adapt_to_async_tool
from llama_index.core.tools.calling import call_tool_with_selection

from llamaindex_urial.conformance.claims import LLMClaims
from llamaindex_urial.conformance.contract import contract
from llamaindex_urial.conformance.endpoints import CHATS, Endpoint

__all__ = ["ToolTests"]


def _add(first: int, second: int) -> int:
    """Add two whole numbers."""
    return first + second


def _weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


class ToolTests(LLMClaims):
    """Nothing here is run unless ``supports_tools`` is claimed."""

    @pytest.fixture
    def tools(self) -> list[BaseTool]:
        """Two tools, ``add`` and ``weather``."""
        return [
            FunctionTool.from_defaults(_add, name="add"),
            FunctionTool.from_defaults(_weather, name="weather"),
        ]

    @pytest.fixture
    def caller(self, llm: LLM) -> FunctionCallingLLM:
        """The LLM, if it claims to call tools."""
        self.needs("supports_tools")
        assert isinstance(llm, FunctionCallingLLM)
        return llm

    @property
    def tool_question(self) -> str:
        """A question for ``add``."""
        return "What is 12 plus 30? Use a tool."

    @contract("FunctionAgent.take_step (agent/workflow/function_agent.py)")
    def test_is_a_function_calling_model(self, caller: FunctionCallingLLM) -> None:
        """The metadata say that the LLM calls functions."""
        assert caller.metadata.is_function_calling_model

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("FunctionCallingProgram: tool_required=True (program/function_program.py)")
    def test_required_tool_is_called(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """With ``tool_required`` the last item calls tools that exist, with arguments that fit."""
        last = self._with_tools(caller, endpoint, tools, tool_required=True)[-1]

        calls = caller.get_tool_calls_from_response(last)
        assert calls, "no call"
        known = {tool.metadata.get_name(): tool for tool in tools}
        for call in calls:
            schema = known[call.tool_name].metadata.fn_schema
            assert schema is not None
            schema.model_validate(call.tool_kwargs)
            assert not call_tool_with_selection(call, tools).is_error

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("memories and exporters read blocks (base/llms/types.py, ToolCallBlock)")
    def test_calls_are_blocks(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """The message holds a ``ToolCallBlock`` for each call, with the same id and name."""
        last = self._with_tools(caller, endpoint, tools, tool_required=True)[-1]

        blocks = [block for block in last.message.blocks if isinstance(block, ToolCallBlock)]
        calls = caller.get_tool_calls_from_response(last)
        assert [(block.tool_call_id, block.tool_name) for block in blocks] == [
            (call.tool_id, call.tool_name) for call in calls
        ]

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("process_streaming_objects looks at nothing else (program/utils.py)")
    def test_calls_are_in_additional_kwargs(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """``message.additional_kwargs["tool_calls"]`` is a list of the calls."""
        last = self._with_tools(caller, endpoint, tools, tool_required=True)[-1]

        listed = last.message.additional_kwargs.get("tool_calls")
        assert isinstance(listed, list)
        assert len(listed) == len(caller.get_tool_calls_from_response(last))

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("FunctionAgent asks for calls at each item (agent/workflow/function_agent.py)")
    def test_every_item_can_be_asked_for_calls(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """With ``error_on_no_tool_call=False`` each item gives a list, with or without calls."""
        for required in (True, False):
            for item in self._with_tools(caller, endpoint, tools, tool_required=required):
                calls = caller.get_tool_calls_from_response(item, error_on_no_tool_call=False)
                assert isinstance(calls, list)
                assert all(isinstance(call.tool_kwargs, dict) for call in calls)

    @contract("FunctionCallingLLM.predict_and_call (llms/function_calling.py)")
    def test_no_call_is_an_error_if_wished(self, caller: FunctionCallingLLM) -> None:
        """Of a response without calls, ``get_tool_calls_from_response`` raises a ``ValueError``."""
        response = ChatResponse(message=ChatMessage(role="assistant", content="No tool needed."))

        assert caller.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
        with pytest.raises(ValueError, match=r".+"):
            caller.get_tool_calls_from_response(response)

    @contract("tool results name their call by this id (agent/workflow/function_agent.py)")
    def test_ids_are_unique(self, caller: FunctionCallingLLM, tools: list[BaseTool]) -> None:
        """Calls have ids, and no two calls have the same."""
        ids = [
            call.tool_id
            for endpoint in CHATS
            for call in caller.get_tool_calls_from_response(
                self._with_tools(caller, endpoint, tools, tool_required=True)[-1]
            )
        ]
        assert all(ids)
        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize("name", ["add", "weather"])
    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("FunctionAgent.initial_tool_choice (agent/workflow/function_agent.py)")
    def test_chosen_tool_is_called(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint, name: str
    ) -> None:
        """``tool_choice="name"`` calls that tool, whatever the question."""
        self.needs("supports_tool_choice")
        last = self._with_tools(caller, endpoint, tools, tool_choice=name)[-1]

        assert {call.tool_name for call in caller.get_tool_calls_from_response(last)} == {name}

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("predict_and_call raises ValueError('Invalid') on more (llms/function_calling.py)")
    def test_one_call_if_not_parallel(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """With ``allow_parallel_tool_calls=False`` there is one call at most."""
        last = self._with_tools(
            caller, endpoint, tools, tool_required=True, allow_parallel_tool_calls=False
        )[-1]
        assert len(caller.get_tool_calls_from_response(last)) == 1

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("agents pass AsyncBaseTool objects (agent/workflow/base_agent.py)")
    def test_takes_async_tools(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """Tools may be those that agents make of them, ``AsyncBaseTool``."""
        adapted = [adapt_to_async_tool(tool) for tool in tools]
        last = self._with_tools(caller, endpoint, adapted, tool_required=True)[-1]
        assert caller.get_tool_calls_from_response(last)

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("memories and agents, which send the same list again (memory/)")
    def test_does_not_change_the_history(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """The history given is the same afterwards."""
        history = [
            ChatMessage(role="user", content="Hello"),
            ChatMessage(role="assistant", content="Hello! How can I help?"),
        ]
        before = deepcopy(history)
        self._with_tools(caller, endpoint, tools, chat_history=history, tool_required=True)
        assert history == before

    @pytest.mark.parametrize("endpoint", CHATS, ids=str)
    @contract("FunctionAgent, second step: results carry tool_call_id, no name (function_agent.py)")
    def test_answers_after_a_result(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], endpoint: Endpoint
    ) -> None:
        """After a call and its result the LLM answers, or calls again; there need be no user."""
        called = self._with_tools(caller, Endpoint("chat"), tools, tool_choice="add")[-1].message
        block = next(block for block in called.blocks if isinstance(block, ToolCallBlock))
        history = [
            ChatMessage(role="user", content=self.tool_question),
            called,
            ChatMessage(
                role=MessageRole.TOOL,
                content="42",
                additional_kwargs={"tool_call_id": block.tool_call_id},
            ),
        ]
        last = self._with_tools(caller, endpoint, tools, user_msg=None, chat_history=history)[-1]

        calls = caller.get_tool_calls_from_response(last, error_on_no_tool_call=False)
        assert calls or (last.message.content or "").strip()

    @pytest.mark.parametrize("parallel", [False, True])
    @contract("FunctionCallingProgram, routers and sub-question engines (llms/function_calling.py)")
    def test_predict_and_call(
        self, caller: FunctionCallingLLM, tools: list[BaseTool], parallel: bool
    ) -> None:
        """``predict_and_call`` and its awaited twin call a tool and give what it returned."""
        arguments: dict[str, Any] = {
            "user_msg": self.tool_question,
            "allow_parallel_tool_calls": parallel,
            "tool_required": True,
        }
        responses = [
            self.run(lambda: caller.predict_and_call(tools, **arguments)),
            self.run_async(caller.apredict_and_call(tools, **arguments)),
        ]
        for response in responses:
            assert response.sources
            assert not any(source.is_error for source in response.sources)
            assert response.sources[0].content in response.response

    @pytest.mark.parametrize("streaming", [True, False])
    @contract("FunctionAgent (agent/workflow/function_agent.py)")
    def test_function_agent(self, caller: FunctionCallingLLM, streaming: bool) -> None:
        """A ``FunctionAgent`` calls the tool that it must call first, and comes to an answer."""
        self.needs("supports_tool_choice")
        called = list[tuple[int, int]]()

        def add(first: int, second: int) -> int:
            """Add two whole numbers."""
            called.append((first, second))
            return first + second

        agent = FunctionAgent(
            llm=caller,
            tools=[FunctionTool.from_defaults(add)],
            initial_tool_choice="add",
            streaming=streaming,
            early_stopping_method="generate",
        )

        async def answered() -> Any:
            return await agent.run(self.tool_question, max_iterations=4)

        output = self.run_async(answered())
        assert called
        assert output.response.role == MessageRole.ASSISTANT
        assert (output.response.content or "").strip()

    def _with_tools(
        self,
        llm: FunctionCallingLLM,
        endpoint: Endpoint,
        tools: list[Any],
        **kwargs: Any,
    ) -> list[ChatResponse]:
        method = getattr(llm, f"{endpoint.method}_with_tools")
        arguments = {"user_msg": self.tool_question, **kwargs}

        async def awaited() -> list[ChatResponse]:
            answer = await method(tools, **arguments)
            return [item async for item in answer] if endpoint.is_stream else [answer]

        def at_once() -> list[ChatResponse]:
            answer = method(tools, **arguments)
            return list(answer) if endpoint.is_stream else [answer]

        return self.run_async(awaited()) if endpoint.is_async else self.run(at_once)
