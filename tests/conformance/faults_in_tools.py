"""LLMs that break a rule on tools or structured output."""

from __future__ import annotations

from typing import Any, ClassVar

from fake_llm import FakeLLM
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    LLMMetadata,
    ToolCallBlock,
)
from llama_index.core.llms import LLM
from llama_index.core.tools import FunctionTool

__all__ = [
    "CallsInBlocksOnly",
    "CallsInKwargsOnly",
    "CallsTwice",
    "ChangesHistory",
    "ChoosesItself",
    "InheritsStructured",
    "NameAsId",
    "NeedsPlainTools",
    "NeverRequires",
    "RaisesOnEveryItem",
    "ReportsNoStructuredEvents",
]


class ChangesHistory(FakeLLM):
    """It appends to the history it is given."""

    fails: ClassVar[set[str]] = {"test_history_is_unchanged"}

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        messages = chat_history or []
        messages.append(ChatMessage(user_msg or ""))
        return super()._prepare_chat_with_tools(tools, None, messages, **kwargs)


class CallsInBlocksOnly(FakeLLM):
    """It does not list its tool calls in ``additional_kwargs``."""

    fails: ClassVar[set[str]] = {"test_calls_are_in_additional_kwargs"}

    def response(self, *args: Any, **kwargs: Any) -> Any:
        item = super().response(*args, **kwargs)
        item.message.additional_kwargs.clear()
        return item


class CallsInKwargsOnly(FakeLLM):
    """Its tool calls have other ids than the blocks."""

    fails: ClassVar[set[str]] = {"test_calls_are_blocks"}

    def get_tool_calls_from_response(self, response: ChatResponse, **kwargs: Any) -> Any:
        calls = super().get_tool_calls_from_response(response, **kwargs)
        return [call.model_copy(update={"tool_id": f"{call.tool_id}-0"}) for call in calls]


class NameAsId(FakeLLM):
    """A call's id is the tool's name."""

    fails: ClassVar[set[str]] = {"test_ids_are_unique"}

    def response(self, *args: Any, **kwargs: Any) -> Any:
        item = super().response(*args, **kwargs)
        for block in item.message.blocks:
            if isinstance(block, ToolCallBlock):
                block.tool_call_id = block.tool_name
        return item


class CallsTwice(FakeLLM):
    """It calls several tools where one is asked for."""

    fails: ClassVar[set[str]] = {"test_no_parallel_calls", "test_predict_and_call"}

    def _prepare_chat_with_tools(self, tools: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        prepared = super()._prepare_chat_with_tools(tools, *args, **kwargs)
        several = prepared["tools"] and not kwargs.get("tool_choice")
        return {**prepared, "tools": list(tools) if several else prepared["tools"]}


class ChoosesItself(FakeLLM):
    """It ignores ``tool_choice``."""

    fails: ClassVar[set[str]] = {"test_calls_chosen_tool"}

    def _prepare_chat_with_tools(
        self, tools: Any, *args: Any, tool_choice: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        required = kwargs.pop("tool_required", False) or tool_choice
        return super()._prepare_chat_with_tools(
            tools, *args, tool_required=bool(required), **kwargs
        )


class RaisesOnEveryItem(FakeLLM):
    """It raises when asked for calls that an item does not have."""

    fails: ClassVar[set[str]] = {
        "test_every_item_can_be_asked_for_calls",
        "test_missing_call_raises_if_requested",
        "test_answers_after_a_result",
        "test_function_agent",
    }

    def get_tool_calls_from_response(self, response: ChatResponse, **kwargs: Any) -> Any:
        return super().get_tool_calls_from_response(response)


class NeedsPlainTools(FakeLLM):
    """It accepts functions as tools, but not the async tools that agents make of them."""

    fails: ClassVar[set[str]] = {"test_accepts_async_tools"}

    def _prepare_chat_with_tools(self, tools: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if not all(isinstance(tool, FunctionTool) for tool in tools):
            raise TypeError("Only functions can be tools.")
        return super()._prepare_chat_with_tools(tools, *args, **kwargs)


class NeverRequires(FakeLLM):
    """It ignores ``tool_required``, and its metadata do not claim function calling."""

    fails: ClassVar[set[str]] = {
        "test_calls_required_tool",
        "test_is_a_function_calling_model",
        "test_structured_predict",
        "test_as_structured_llm",
        "test_predict_and_call",
    }

    @property
    def metadata(self) -> LLMMetadata:
        return super().metadata.model_copy(update={"is_function_calling_model": False})

    def _prepare_chat_with_tools(self, tools: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        kwargs.pop("tool_required", None)
        return super()._prepare_chat_with_tools(tools, *args, **kwargs)


class InheritsStructured(FakeLLM):
    """It inherits the structured methods of the core."""

    fails: ClassVar[set[str]] = {
        "test_structured_predict",
        "test_as_structured_llm",
        "test_system_prompt_is_sent",
    }
    astructured_predict = LLM.astructured_predict
    _structured_stream_call = LLM._structured_stream_call
    _structured_astream_call = LLM._structured_astream_call


class ReportsNoStructuredEvents(FakeLLM):
    """Its ``structured_predict`` reports no events."""

    fails: ClassVar[set[str]] = {"test_events_of_structured_predict"}

    def structured_predict(self, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        return output_cls(name="Ada", age=36)
