"""LLMs that break a rule on messages or events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fake_llm import FakeLLM
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.callbacks import llm_chat_callback

__all__ = [
    "ChangesMessages",
    "DoubleEvents",
    "FormatsTwice",
    "LeaksItsKey",
    "LosesImages",
    "NeedsUserLast",
    "ReportsNoEvents",
    "SystemPromptTwice",
    "WritesNone",
]


class ChangesMessages(FakeLLM):
    """It changes the messages that it gets, in place."""

    fails: ClassVar[set[str]] = {"test_does_not_change_the_messages"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        for message in messages:
            message.additional_kwargs["seen"] = True
        return super().conversation_text(messages)


class LosesImages(FakeLLM):
    """It leaves out what is not text without a warning."""

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


class SystemPromptTwice(FakeLLM):
    """It adds its system prompt, which the core has added already."""

    fails: ClassVar[set[str]] = {"test_system_prompt_is_applied_once"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        text = super().conversation_text(messages)
        return f"system: {self.system_prompt}\n{text}" if self.system_prompt else text


class WritesNone(FakeLLM):
    """It writes the word None where a message has no text."""

    fails: ClassVar[set[str]] = {"test_no_text_is_not_the_text_none"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        texts = [f"{message.role.value}: {message.content}" for message in messages]
        return "\n".join([*texts, super().conversation_text(messages)])


class FormatsTwice(FakeLLM):
    """It formats text that is already formatted."""

    fails: ClassVar[set[str]] = {"test_the_model_sees_every_text"}

    def conversation_text(self, messages: Sequence[ChatMessage]) -> str:
        return super().conversation_text(messages).replace("{{", "{").replace("}}", "}")


class NeedsUserLast(FakeLLM):
    """It requires a user message last, as many chat templates do."""

    fails: ClassVar[set[str]] = {
        "test_accepts_every_conversation",
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


class DoubleEvents(FakeLLM):
    """Its chat is a call of its own ``complete``, which reports events as well."""

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


class ReportsNoEvents(FakeLLM):
    """It reports no events of ``chat``."""

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


class LeaksItsKey(FakeLLM):
    """Its payload holds its key."""

    fails: ClassVar[set[str]] = {"test_events_hold_no_secret", "test_payload_describes_the_llm"}

    def to_payload(self) -> dict[str, Any]:
        return {**super().to_payload(), "api_key": self.api_key}
