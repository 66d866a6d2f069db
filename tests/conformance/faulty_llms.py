"""LLMs that break one rule each, and the suite on each of them.

pytest runs this file in a process of its own; see ``test_llamaindex_suite.py``.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, ClassVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import LLM
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.tools import FunctionTool
from scripted_llm import ScriptedLLM, Source
from scripted_suite import ScriptedSuite

__all__ = ["FAULTS"]

_TIME_LIMIT = 2.0


def _text_of(item: ChatResponse | CompletionResponse) -> str:
    return item.text if isinstance(item, CompletionResponse) else item.message.content or ""


class DoubleEvents(ScriptedLLM):
    """Its chat is a call of its own ``complete``, which tells of itself as well."""

    fails: ClassVar[set[str]] = {
        "test_one_pair_for_callback_handlers",
        "test_token_counting_handler",
    }

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        if "tools" in kwargs:
            return super().chat(messages, **kwargs)
        answer = self.complete(self.conversation_text(messages), formatted=True, **kwargs)
        message = ChatMessage(role="assistant", content=answer.text)
        return ChatResponse(message=message, raw=answer.raw)


class TextAsDelta(ScriptedLLM):
    """Its deltas are the text so far."""

    fails: ClassVar[set[str]] = {"test_deltas_make_up_the_text"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        for item in super().items(source, make):
            yield item.model_copy(update={"delta": _text_of(item)})


class DeltaAsText(ScriptedLLM):
    """Its items' texts are the deltas."""

    fails: ClassVar[set[str]] = {
        "test_deltas_make_up_the_text",
        "test_same_text_as_at_once",
        "test_same_answer_each_time",
        "test_stop_ends_the_answer",
    }

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        return super().completion(source, delta or text, delta, last=last)

    def items(self, source: Source, make: Any) -> Generator[Any]:
        yield from list(super().items(source, make))[:-1]


class NoItems(ScriptedLLM):
    """Its awaited streams are empty."""

    fails: ClassVar[set[str]] = {"test_has_an_item"}

    async def aitems(self, source: Source, make: Any) -> AsyncGenerator[Any]:
        for _ in source.write():
            pass
        return
        yield


class SwallowsErrors(ScriptedLLM):
    """When its source fails, the stream just ends."""

    fails: ClassVar[set[str]] = {"test_errors_reach_the_caller"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        try:
            yield from super().items(source, make)
        except ConnectionError:
            return


class HangsOnErrors(ScriptedLLM):
    """When its source fails, the caller waits on."""

    fails: ClassVar[set[str]] = {"test_errors_reach_the_caller"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        try:
            yield from super().items(source, make)
        except ConnectionError:
            time.sleep(2 * _TIME_LIMIT)


class BlocksTheLoop(ScriptedLLM):
    """Its awaited methods are not."""

    fails: ClassVar[set[str]] = {"test_event_loop_runs_on", "test_awaited_together_is_faster"}
    delay: float = 0.01

    async def awhole(self, source: Source, make: Any) -> Any:
        return self.whole(source, make)

    async def aitems(self, source: Source, make: Any) -> AsyncGenerator[Any]:
        for item in self.items(source, make):
            yield item


class ChangesMessages(ScriptedLLM):
    """It strips the texts it is given, in place."""

    fails: ClassVar[set[str]] = {"test_does_not_change_the_messages"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        for message in messages:
            message.additional_kwargs["seen"] = True
        return super().conversation_text(messages)


class ChangesHistory(ScriptedLLM):
    """It appends to the history it is given."""

    fails: ClassVar[set[str]] = {"test_does_not_change_the_history"}

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        messages = chat_history or []
        messages.append(ChatMessage(user_msg or ""))
        return super()._prepare_chat_with_tools(tools, None, messages, **kwargs)


class RunsOn(ScriptedLLM):
    """Its source writes on when the stream is closed."""

    fails: ClassVar[set[str]] = {"test_closing_early_stops_the_source"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        yield from super().items(source, make)
        source.running = source.left


class ReportsClosing(ScriptedLLM):
    """It leaves a close to the core's decorators."""

    fails: ClassVar[set[str]] = {"test_closing_early_is_no_error"}

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        source, make = self._conversation(messages, kwargs)
        return self.items(source, make)


class IgnoresStop(ScriptedLLM):
    """It writes on past a stop text."""

    fails: ClassVar[set[str]] = {"test_stop_ends_the_answer"}

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        return super().answer(text, ())


class IgnoresFormatted(ScriptedLLM):
    """It wraps prompts that are formatted already."""

    fails: ClassVar[set[str]] = {"test_formatted_prompt_is_passed_on_as_it_is"}

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        return super().complete(f"user: {prompt}" if formatted else prompt, formatted, **kwargs)


class MixesUp(ScriptedLLM):
    """It keeps what is asked in one place for all calls."""

    fails: ClassVar[set[str]] = {"test_answers_are_not_mixed_up"}
    delay: float = 0.002

    def whole(self, source: Source, make: Any) -> Any:
        time.sleep(self.delay)
        return super().whole(self.sources[-1], make)


class RawIsText(ScriptedLLM):
    """``raw`` is a text."""

    fails: ClassVar[set[str]] = {"test_raw_can_be_read", "test_token_counting_handler"}

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        return CompletionResponse(text=text, delta=delta, raw=f"<{text}>")


class RawIsAnObject(ScriptedLLM):
    """``raw`` holds an object that is no data, as a tensor."""

    fails: ClassVar[set[str]] = {"test_responses_can_be_dumped"}

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        item = super().completion(source, text, delta, last=last)
        return item.model_copy(update={"raw": {**(item.raw or {}), "tensor": object()}})


class NoUsage(ScriptedLLM):
    """``raw`` says nothing of tokens."""

    fails: ClassVar[set[str]] = {"test_token_counting_handler"}

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        return CompletionResponse(text=text, delta=delta)


class TellsItsKey(ScriptedLLM):
    """Its description holds its key."""

    fails: ClassVar[set[str]] = {"test_nothing_secret", "test_payload_describes_the_llm"}

    def to_payload(self) -> dict[str, Any]:
        return {**super().to_payload(), "api_key": self.api_key}


class StoresItsKey(ScriptedLLM):
    """Its dictionary holds its key."""

    fails: ClassVar[set[str]] = {"test_dictionary_has_no_secret"}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().to_dict(**kwargs), "api_key": self.api_key}


class LosesImages(ScriptedLLM):
    """It leaves out what is not text, and does not say so."""

    fails: ClassVar[set[str]] = {"test_images_are_not_lost_silently"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        texts = [
            message.model_copy(
                update={
                    "blocks": [
                        block
                        for block in message.blocks
                        if isinstance(block, TextBlock | ToolCallBlock)
                    ]
                }
            )
            for message in messages
        ]
        return super().conversation_text(texts)


class SystemPromptTwice(ScriptedLLM):
    """It adds its system prompt, which the core has added."""

    fails: ClassVar[set[str]] = {"test_system_prompt_is_applied_once"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        text = super().conversation_text(messages)
        return f"system: {self.system_prompt}\n{text}" if self.system_prompt else text


class WritesNone(ScriptedLLM):
    """It writes the word None where a message has no text."""

    fails: ClassVar[set[str]] = {"test_no_text_is_not_the_text_none"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        texts = [f"{message.role.value}: {message.content}" for message in messages]
        return "\n".join([*texts, super().conversation_text(messages)])


class SinglesBraces(ScriptedLLM):
    """It formats what is formatted already."""

    fails: ClassVar[set[str]] = {"test_the_model_sees_every_text"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        return super().conversation_text(messages).replace("{{", "{").replace("}}", "}")


class Particular(ScriptedLLM):
    """It wants a user's message last, as many chat templates do."""

    fails: ClassVar[set[str]] = {
        "test_takes_conversations_of_every_form",
        "test_the_model_sees_every_text",
        "test_no_text_is_not_the_text_none",
        "test_does_not_change_the_messages",
        "test_answers_after_a_result",
        "test_function_agent",
    }

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        if messages[-1].role != MessageRole.USER:
            raise ValueError("The last message must be the user's.")
        return super().conversation_text(messages)


class SpeaksAsUser(ScriptedLLM):
    """Its answers are the user's."""

    fails: ClassVar[set[str]] = {
        "test_answers",
        "test_takes_conversations_of_every_form",
        "test_function_agent",
    }

    def response(self, *args: Any, **kwargs: Any) -> Any:
        item = super().response(*args, **kwargs)
        message = item.message.model_copy(update={"role": MessageRole.USER})
        return item.model_copy(update={"message": message})


class Rambles(ScriptedLLM):
    """It never answers twice the same."""

    fails: ClassVar[set[str]] = {
        "test_same_answer_each_time",
        "test_same_text_as_at_once",
        "test_stop_ends_the_answer",
        "test_answers_are_not_mixed_up",
        "test_predicts_the_same",
    }

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        source = super().answer(text, stop)
        source.text = f"{random.random()} {source.text}"  # noqa: S311 - any number does
        return source


class OneItemForAll(ScriptedLLM):
    """It gives out the same object again and again."""

    fails: ClassVar[set[str]] = {"test_items_do_not_change_later"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        one = None
        for item in super().items(source, make):
            one = one or item
            for name in type(item).model_fields:
                setattr(one, name, getattr(item, name))
            yield one


class CallsInBlocksOnly(ScriptedLLM):
    """It does not list its calls in ``additional_kwargs``."""

    fails: ClassVar[set[str]] = {"test_calls_are_in_additional_kwargs"}

    def response(self, *args: Any, **kwargs: Any) -> Any:
        item = super().response(*args, **kwargs)
        item.message.additional_kwargs.clear()
        return item


class CallsInKwargsOnly(ScriptedLLM):
    """Its calls have ids that the blocks do not have."""

    fails: ClassVar[set[str]] = {"test_calls_are_blocks"}

    def get_tool_calls_from_response(self, response: ChatResponse, **kwargs: Any) -> Any:
        calls = super().get_tool_calls_from_response(response, **kwargs)
        return [call.model_copy(update={"tool_id": f"{call.tool_id}-0"}) for call in calls]


class NameAsId(ScriptedLLM):
    """A call's id is the tool's name."""

    fails: ClassVar[set[str]] = {"test_ids_are_unique"}

    def response(self, *args: Any, **kwargs: Any) -> Any:
        item = super().response(*args, **kwargs)
        for block in item.message.blocks:
            if isinstance(block, ToolCallBlock):
                block.tool_call_id = block.tool_name
        return item


class CallsTwice(ScriptedLLM):
    """It calls several tools where one is asked for."""

    fails: ClassVar[set[str]] = {"test_one_call_if_not_parallel", "test_predict_and_call"}

    def _prepare_chat_with_tools(self, tools: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        prepared = super()._prepare_chat_with_tools(tools, *args, **kwargs)
        several = prepared["tools"] and not kwargs.get("tool_choice")
        return {**prepared, "tools": list(tools) if several else prepared["tools"]}


class ChoosesItself(ScriptedLLM):
    """It ignores ``tool_choice``."""

    fails: ClassVar[set[str]] = {"test_chosen_tool_is_called"}

    def _prepare_chat_with_tools(
        self, tools: Any, *args: Any, tool_choice: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        required = kwargs.pop("tool_required", False) or tool_choice
        return super()._prepare_chat_with_tools(
            tools, *args, tool_required=bool(required), **kwargs
        )


class RaisesOnEveryItem(ScriptedLLM):
    """It cannot be asked for calls where there are none."""

    fails: ClassVar[set[str]] = {
        "test_every_item_can_be_asked_for_calls",
        "test_no_call_is_an_error_if_wished",
        "test_answers_after_a_result",
        "test_function_agent",
    }

    def get_tool_calls_from_response(self, response: ChatResponse, **kwargs: Any) -> Any:
        return super().get_tool_calls_from_response(response)


class LeavesObjectsToTheCore(ScriptedLLM):
    """It has the structured methods of the core."""

    fails: ClassVar[set[str]] = {
        "test_stream_structured_predict",
        "test_astream_structured_predict",
        "test_as_structured_llm_streams",
        "test_system_prompt_counts",
    }
    astructured_predict = LLM.astructured_predict
    _structured_stream_call = LLM._structured_stream_call
    _structured_astream_call = LLM._structured_astream_call


class YieldsWhereItShouldReturn(ScriptedLLM):
    """Its ``astream_chat`` is an async generator itself, and cannot be awaited."""

    fails: ClassVar[set[str]] = {"test_awaiting_gives_an_async_generator"}

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        async for item in await super().astream_chat(messages, **kwargs):
            yield item


class ListsWhereItShouldStream(ScriptedLLM):
    """Its ``stream_chat`` gives a list iterator, not a generator."""

    fails: ClassVar[set[str]] = {"test_calling_gives_a_generator"}

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        return iter(list(super().stream_chat(messages, **kwargs)))


class NamesItsPromptOtherwise(ScriptedLLM):
    """Its parameter is not called ``prompt``."""

    fails: ClassVar[set[str]] = {"test_prompt_may_be_a_keyword"}

    def complete(self, text: str, formatted: bool = False, **kwargs: Any) -> Any:
        return super().complete(text, formatted, **kwargs)


class ThinksOfItself(ScriptedLLM):
    """Its metadata take long, and are untrue."""

    fails: ClassVar[set[str]] = {"test_metadata", "test_model_name", "test_metadata_is_cheap"}

    @property
    def metadata(self) -> LLMMetadata:
        time.sleep(0.002)
        return LLMMetadata(num_output=4096, is_chat_model=True, is_function_calling_model=True)


class OnlyCallsFunctions(ScriptedLLM):
    """It calls functions, but is no chat model; and has no name."""

    fails: ClassVar[set[str]] = {"test_function_calling_model_is_a_chat_model", "test_class_name"}

    @classmethod
    def class_name(cls) -> str:
        return "base_component"

    @property
    def metadata(self) -> LLMMetadata:
        return super().metadata.model_copy(update={"is_chat_model": False})


class ForgetsTheEnd(ScriptedLLM):
    """It tells of the start of a call only."""

    fails: ClassVar[set[str]] = {
        "test_one_pair_for_callback_handlers",
        "test_payloads_for_callback_handlers",
        "test_dispatcher_events_in_order",
        "test_dispatcher_events_carry_the_call",
        "test_token_counting_handler",
    }

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        source, make = self._conversation(messages, kwargs)
        return self.whole(source, make)


class NeedsPlainTools(ScriptedLLM):
    """It takes functions for tools, and no tools that agents have made asynchronous."""

    fails: ClassVar[set[str]] = {"test_takes_async_tools"}

    def _prepare_chat_with_tools(self, tools: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if not all(isinstance(tool, FunctionTool) for tool in tools):
            raise TypeError("Only functions can be tools.")
        return super()._prepare_chat_with_tools(tools, *args, **kwargs)


class NeverRequires(ScriptedLLM):
    """It ignores ``tool_required``, and does not say that it calls functions."""

    fails: ClassVar[set[str]] = {
        "test_required_tool_is_called",
        "test_is_a_function_calling_model",
        "test_structured_predict",
        "test_astructured_predict",
        "test_as_structured_llm",
        "test_predict_and_call",
    }

    @property
    def metadata(self) -> LLMMetadata:
        return super().metadata.model_copy(update={"is_function_calling_model": False})

    def _prepare_chat_with_tools(self, tools: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        kwargs.pop("tool_required", None)
        return super()._prepare_chat_with_tools(tools, *args, **kwargs)


class TellsNothingOfObjects(ScriptedLLM):
    """Its ``structured_predict`` tells the dispatcher nothing."""

    fails: ClassVar[set[str]] = {"test_events_of_structured_predict"}

    def structured_predict(self, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        return output_cls(name="Ada", age=36)


class SaysNothing(ScriptedLLM):
    """Its answers are blank."""

    fails: ClassVar[set[str]] = {"test_answers", "test_predicts", "test_deltas_make_up_the_text"}

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        source = super().answer(text, stop)
        source.text = "\n"
        return source


class HatesBeingLeft(ScriptedLLM):
    """Its source raises when its stream is closed."""

    fails: ClassVar[set[str]] = {"test_closing_early"}

    def items(self, source: Source, make: Any) -> Generator[Any]:
        yield from super().items(source, make)
        if source.left:
            raise RuntimeError("Nobody listened to the end.")


class HoldsAnObject(ScriptedLLM):
    """Its dictionary is no JSON."""

    fails: ClassVar[set[str]] = {"test_dictionary_is_json"}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().to_dict(**kwargs), "model": object()}


FAULTS: dict[str, set[str]] = {}
"""The tests that each faulty class must fail."""


def _suite_on(faulty: type[ScriptedLLM]) -> type[ScriptedSuite]:
    """Make the suite's class for this LLM, with those tests only that it must fail."""
    left_out = {name for name in dir(ScriptedSuite) if name.startswith("test_")} - faulty.fails
    members: dict[str, Any] = dict.fromkeys(left_out)
    members["llm_class"] = faulty
    members["options"] = {} if "delay" in faulty.__annotations__ else {"delay": 0.0}
    members["time_limit"] = _TIME_LIMIT
    return type(f"Test{faulty.__name__}", (ScriptedSuite,), members)


for _class in ScriptedLLM.__subclasses__():
    FAULTS[_class.__name__] = _class.fails
    globals()[f"Test{_class.__name__}"] = _suite_on(_class)
