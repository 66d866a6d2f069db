"""Tools: what LlamaIndex offers to call, and the calls as it wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.tools.types import BaseTool

__all__ = ["ToolCallingLLM"]


class ToolCallingLLM(FunctionCallingLLM):
    """An LLM whose ``chat`` takes tools in the OpenAI API's form."""

    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Have the model call a tool, and call it; without function calls by text alone (ReAct)."""
        return super().predict_and_call(
            tools,
            user_msg,
            chat_history,
            verbose,
            allow_parallel_tool_calls,
            error_on_no_tool_call,
            error_on_tool_error,
            **self._with_react(kwargs),
        )

    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """As ``predict_and_call``, without blocking the event loop."""
        return await super().apredict_and_call(
            tools,
            user_msg,
            chat_history,
            verbose,
            allow_parallel_tool_calls,
            error_on_no_tool_call,
            error_on_tool_error,
            **self._with_react(kwargs),
        )

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **_: Any
    ) -> list[ToolSelection]:
        """The calls in a response, or what there is of them so far.

        Raises:
            ValueError: There are none and ``error_on_no_tool_call`` is set, as LlamaIndex has it.
        """
        found = _tool_selections(response)
        if not found and error_on_no_tool_call:
            raise ValueError("Expected at least one tool call, but the response holds none.")
        return found

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        written = _call_arguments(
            tools,
            user_msg,
            chat_history,
            required=tool_required,
            choice=tool_choice,
            parallel=allow_parallel_tool_calls,
        )
        return {**written, **kwargs}

    def _with_react(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What LlamaIndex's ReAct way needs, and passes on as None where it is left out."""
        if self.metadata.is_function_calling_model:
            return kwargs
        return {
            "react_chat_formatter": ReActChatFormatter(),
            "output_parser": ReActOutputParser(),
            **kwargs,
        }


def _call_arguments(
    tools: Sequence[BaseTool],
    user_msg: str | ChatMessage | None,
    chat_history: Sequence[ChatMessage] | None,
    *,
    required: bool,
    choice: str | dict[str, Any] | None,
    parallel: bool,
) -> dict[str, Any]:
    """The keyword arguments of ``chat`` for a conversation with tools."""
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    arguments: dict[str, Any] = {
        "messages": [*(chat_history or ()), *([user_msg] if user_msg else ())]
    }
    if tools:
        arguments["tools"] = [
            tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools
        ]
        arguments["tool_choice"] = choice or ("required" if required else "auto")
        arguments["parallel_tool_calls"] = parallel
    return arguments


def _tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls in a response, or what there is of them so far."""
    return [
        ToolSelection(
            tool_id=block.tool_call_id or block.tool_name,
            tool_name=block.tool_name,
            tool_kwargs=_arguments(block.tool_kwargs),
        )
        for block in response.message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def _arguments(written: dict[str, Any] | str) -> dict[str, Any]:
    if not isinstance(written, str):
        return written
    try:
        parsed: Any = parse_partial_json(written)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
