"""Tool calling."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool, FunctionTool, adapt_to_async_tool
from llama_index.core.tools.calling import call_tool_with_selection

from llamaindex_urial.conformance.calls import CHATS, Endpoint
from llamaindex_urial.conformance.claims import LLMClaims, contract

__all__ = ["ToolTests"]


def _add(first: int, second: int) -> int:
    """Add two whole numbers."""
    return first + second


def _weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


class ToolTests(LLMClaims):
    """Test tool calling, if ``has_tool_calling`` is claimed."""

    tool_question: str = "What is 12 plus 30? Use a tool."
    """A question for ``add``."""

    @property
    def tools(self) -> list[BaseTool]:
        """Two tools, ``add`` and ``weather``."""
        return [
            FunctionTool.from_defaults(_add, name="add"),
            FunctionTool.from_defaults(_weather, name="weather"),
        ]

    @pytest.fixture
    def tool_llm(self, llm: LLM) -> FunctionCallingLLM:
        """Return the LLM that calls tools: ``llm``, if it claims to."""
        self.needs("has_tool_calling")
        assert isinstance(llm, FunctionCallingLLM)
        return llm

    @contract("FunctionAgent.take_step (agent/workflow/function_agent.py)")
    def test_is_a_function_calling_model(self, tool_llm: FunctionCallingLLM) -> None:
        """The metadata say that the LLM calls functions."""
        assert tool_llm.metadata.is_function_calling_model

    @contract("FunctionCallingProgram: tool_required=True (program/function_program.py)", CHATS)
    def test_calls_required_tool(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """With ``tool_required`` the last item calls tools that exist, with valid arguments."""
        _, calls = self._called(tool_llm, endpoint)

        assert calls, "no call"
        known = {tool.metadata.get_name(): tool for tool in self.tools}
        for call in calls:
            schema = known[call.tool_name].metadata.fn_schema
            assert schema is not None
            schema.model_validate(call.tool_kwargs)
            assert not call_tool_with_selection(call, self.tools).is_error

    @contract("memories and exporters read blocks (base/llms/types.py, ToolCallBlock)", CHATS)
    def test_calls_are_blocks(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """The message holds a ``ToolCallBlock`` for each call, with the same id and name."""
        message, calls = self._called(tool_llm, endpoint)

        blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
        assert [(block.tool_call_id, block.tool_name) for block in blocks] == [
            (call.tool_id, call.tool_name) for call in calls
        ]

    @contract("process_streaming_objects looks at nothing else (program/utils.py)", CHATS)
    def test_calls_are_in_additional_kwargs(
        self, tool_llm: FunctionCallingLLM, endpoint: Endpoint
    ) -> None:
        """``message.additional_kwargs["tool_calls"]`` is a list of the calls."""
        message, calls = self._called(tool_llm, endpoint)

        listed = message.additional_kwargs.get("tool_calls")
        assert isinstance(listed, list)
        assert len(listed) == len(calls)

    @contract("FunctionAgent asks for calls at each item (agent/workflow/function_agent.py)", CHATS)
    def test_every_item_can_be_asked_for_calls(
        self, tool_llm: FunctionCallingLLM, endpoint: Endpoint
    ) -> None:
        """With ``error_on_no_tool_call=False`` each item gives a list, with or without calls."""
        for required in (True, False):
            for item in self._with_tools(tool_llm, endpoint, tool_required=required):
                calls = tool_llm.get_tool_calls_from_response(item, error_on_no_tool_call=False)
                assert isinstance(calls, list)
                assert all(isinstance(call.tool_kwargs, dict) for call in calls)

    @contract("FunctionCallingLLM.predict_and_call (llms/function_calling.py)")
    def test_missing_call_raises_if_requested(self, tool_llm: FunctionCallingLLM) -> None:
        """Without a call, ``get_tool_calls_from_response`` raises a ``ValueError`` by default."""
        response = ChatResponse(message=ChatMessage(role="assistant", content="No tool needed."))

        assert tool_llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
        with pytest.raises(ValueError, match=r".+"):
            tool_llm.get_tool_calls_from_response(response)

    @contract("tool results name their call by this id (agent/workflow/function_agent.py)")
    def test_ids_are_unique(self, tool_llm: FunctionCallingLLM) -> None:
        """Calls have ids, and no two calls have the same."""
        called = [self._called(tool_llm, endpoint)[1] for endpoint in CHATS]

        ids = [call.tool_id for calls in called for call in calls]
        assert all(ids)
        assert len(set(ids)) == len(ids)

    @contract("FunctionAgent.initial_tool_choice (agent/workflow/function_agent.py)", CHATS)
    def test_calls_chosen_tool(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """``tool_choice="name"`` calls that tool, whatever the question."""
        self.needs("has_tool_choice")
        for name in ("add", "weather"):
            choice = {"tool_required": False, "tool_choice": name}
            _, calls = self._called(tool_llm, endpoint, **choice)
            assert {call.tool_name for call in calls} == {name}

    @contract(
        "predict_and_call raises ValueError('Invalid') on more (llms/function_calling.py)", CHATS
    )
    def test_no_parallel_calls(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """With ``allow_parallel_tool_calls=False`` a required call is the only one."""
        _, calls = self._called(tool_llm, endpoint, allow_parallel_tool_calls=False)
        assert len(calls) == 1

    @contract("agents pass AsyncBaseTool objects (agent/workflow/base_agent.py)", CHATS)
    def test_accepts_async_tools(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """Tools may be ``AsyncBaseTool`` objects, as agents make them."""
        tools = [adapt_to_async_tool(tool) for tool in self.tools]
        _, calls = self._called(tool_llm, endpoint, tools=tools)
        assert calls

    @contract("memories and agents, which send the same list again (memory/)", CHATS)
    def test_history_is_unchanged(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """The history passed is the same afterwards."""
        history = [ChatMessage("Hello", role="user"), ChatMessage("Hi!", role="assistant")]
        before = deepcopy(history)
        self._called(tool_llm, endpoint, chat_history=history)
        assert history == before

    @contract(
        "FunctionAgent, second step: results carry tool_call_id, no name (function_agent.py)", CHATS
    )
    def test_answers_after_a_result(self, tool_llm: FunctionCallingLLM, endpoint: Endpoint) -> None:
        """After a call and its result the LLM answers or calls again, without a user message."""
        message, calls = self._called(
            tool_llm, Endpoint("chat"), tool_required=False, tool_choice="add"
        )
        history = [
            ChatMessage(role="user", content=self.tool_question),
            message,
            ChatMessage("42", role="tool", additional_kwargs={"tool_call_id": calls[0].tool_id}),
        ]
        last = self._with_tools(tool_llm, endpoint, user_msg=None, chat_history=history)[-1]

        calls = tool_llm.get_tool_calls_from_response(last, error_on_no_tool_call=False)
        assert calls or (last.message.content or "").strip()

    @pytest.mark.parametrize("parallel", [False, True])
    @contract("FunctionCallingProgram, routers and sub-question engines (llms/function_calling.py)")
    def test_predict_and_call(self, tool_llm: FunctionCallingLLM, parallel: bool) -> None:
        """``predict_and_call`` and ``apredict_and_call`` call a tool and return its result."""
        arguments = {"user_msg": self.tool_question, "allow_parallel_tool_calls": parallel}
        for method in ("predict_and_call", "apredict_and_call"):
            [response] = self.call(tool_llm, method, self.tools, tool_required=True, **arguments)
            assert response.sources
            assert not any(source.is_error for source in response.sources)
            assert response.sources[0].content in response.response

    @pytest.mark.parametrize("streaming", [True, False])
    @contract("FunctionAgent (agent/workflow/function_agent.py)")
    def test_function_agent(self, tool_llm: FunctionCallingLLM, streaming: bool) -> None:
        """A ``FunctionAgent`` calls the tool that it must call first, and returns an answer."""
        self.needs("has_tool_choice")
        agent = FunctionAgent(
            llm=tool_llm,
            tools=self.tools,
            initial_tool_choice="add",
            streaming=streaming,
            early_stopping_method="generate",
        )

        async def answered() -> Any:
            return await agent.run(self.tool_question, max_iterations=4)

        output = self.run_async(answered())
        assert output.tool_calls
        assert output.tool_calls[0].tool_name == "add"
        assert output.response.role == MessageRole.ASSISTANT
        assert (output.response.content or "").strip()

    def _called(
        self, llm: FunctionCallingLLM, endpoint: Endpoint, **kwargs: Any
    ) -> tuple[ChatMessage, list[ToolSelection]]:
        """Require a call; return the last message and its calls."""
        last = self._with_tools(llm, endpoint, **{"tool_required": True, **kwargs})[-1]
        return last.message, llm.get_tool_calls_from_response(last)

    def _with_tools(
        self, llm: FunctionCallingLLM, endpoint: Endpoint, **kwargs: Any
    ) -> list[ChatResponse]:
        arguments = {"tools": self.tools, "user_msg": self.tool_question, **kwargs}
        return self.call(llm, f"{endpoint.method}_with_tools", **arguments)
