"""Tools: LlamaIndex's tools as arguments of ``chat``, and the calls in its responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.tools.types import BaseTool

from urial_core.errors import GenerationError

__all__ = ["ToolCallingLLM"]


class ToolCallingLLM(FunctionCallingLLM):
    """An LLM whose ``chat`` takes tools as the OpenAI API writes them."""

    def predict_and_call(
        self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any
    ) -> AgentChatResponse:
        """Have the model call a tool, and call it; without function calls by text alone (ReAct)."""
        return super().predict_and_call(tools, *args, **self._with_react(kwargs))

    async def apredict_and_call(
        self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any
    ) -> AgentChatResponse:
        """As ``predict_and_call``, without blocking the event loop."""
        return await super().apredict_and_call(tools, *args, **self._with_react(kwargs))

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **_: Any
    ) -> list[ToolSelection]:
        """Return the calls in a response, or what there is of them so far.

        Invalid calls, such as one that ``max_tokens`` cut, are in ``response.raw`` as
        ``invalid_tool_calls``. An agent, which passes ``error_on_no_tool_call=False``, gets the
        valid ones, and those of which the model can be told what is invalid.

        Raises:
            ValueError: There are none and ``error_on_no_tool_call`` is set.
            GenerationError: A call is invalid and ``error_on_no_tool_call`` is set; or the response
                holds nothing but invalid calls, no text either: an agent would return an empty
                answer. What was written of the first is in the error's ``text``.
        """
        found = [
            ToolSelection(
                tool_id=block.tool_call_id or block.tool_name,
                tool_name=block.tool_name,
                tool_kwargs=_arguments(block.tool_kwargs),
            )
            for block in response.message.blocks
            if isinstance(block, ToolCallBlock)
        ]
        invalid = (response.raw or {}).get("invalid_tool_calls") or ()
        if invalid and (error_on_no_tool_call or not (found or response.message.content)):
            reasons = " ".join(call["error"] for call in invalid)
            raise GenerationError(
                f"The reply holds an invalid tool call. {reasons}", invalid[0]["text"]
            )
        if not found and error_on_no_tool_call:
            raise ValueError("Expected at least one tool call, but the response holds none.")
        return found

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | BaseTool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        messages = [*(chat_history or ()), *([user_msg] if user_msg else ())]
        if not tools:
            return {"messages": messages, **kwargs}
        if isinstance(tool_choice, BaseTool):
            tool_choice = tool_choice.metadata.name
        return {
            "messages": messages,
            "tools": [_openai_tool(tool) for tool in tools],
            "tool_choice": tool_choice or ("required" if tool_required else "auto"),
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def _with_react(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Add what LlamaIndex's ReAct agent needs, and passes on as None where it is left out."""
        if self.metadata.is_function_calling_model:
            return kwargs
        return {
            "react_chat_formatter": ReActChatFormatter(),
            "output_parser": ReActOutputParser(),
            **kwargs,
        }


def _openai_tool(tool: BaseTool) -> dict[str, Any]:
    """Return a tool as the OpenAI API writes it, under the name by which LlamaIndex finds it.

    ``to_openai_tool`` rewrites the name to OpenAI's characters, and no tool has the result's name.
    """
    written = tool.metadata.to_openai_tool(skip_length_check=True)
    return {**written, "function": {**written["function"], "name": tool.metadata.name}}


def _arguments(written: dict[str, Any] | str) -> dict[str, Any]:
    if not isinstance(written, str):
        return written
    try:
        parsed: Any = parse_partial_json(written)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
