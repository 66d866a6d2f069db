"""LLMs whose answers or metadata break a rule."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from fake_llm import FakeLLM, Source
from llama_index.core.base.llms.types import (
    CompletionResponse,
    LLMMetadata,
    MessageRole,
)

__all__ = [
    "AnswersAsUser",
    "AnswersBlank",
    "HoldsAnObject",
    "IgnoresFormatted",
    "IgnoresStop",
    "IsRandom",
    "NoUsage",
    "OnlyCallsFunctions",
    "RawIsAnObject",
    "RawIsText",
    "RenamesPrompt",
    "SlowMetadata",
    "StoresItsKey",
]


class IgnoresStop(FakeLLM):
    """It writes on past a stop text."""

    fails: ClassVar[set[str]] = {"test_stop_ends_the_answer"}

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        return super().answer(text, ())


class IgnoresFormatted(FakeLLM):
    """It wraps prompts that are already formatted."""

    fails: ClassVar[set[str]] = {"test_formatted_prompt_is_passed_on_unchanged"}

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        return super().complete(f"user: {prompt}" if formatted else prompt, formatted, **kwargs)


class RawIsText(FakeLLM):
    """``raw`` is a text."""

    fails: ClassVar[set[str]] = {"test_raw_can_be_read", "test_token_counting_handler"}

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        return CompletionResponse(text=text, delta=delta, raw=f"<{text}>")


class RawIsAnObject(FakeLLM):
    """``raw`` holds an object that is not data, such as a tensor."""

    fails: ClassVar[set[str]] = {"test_responses_can_be_dumped"}

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        item = super().completion(source, text, delta, last=last)
        return item.model_copy(update={"raw": {**(item.raw or {}), "tensor": object()}})


class NoUsage(FakeLLM):
    """``raw`` holds no usage."""

    fails: ClassVar[set[str]] = {"test_token_counting_handler"}

    def completion(self, source: Source, text: str, delta: str, *, last: bool) -> Any:
        return CompletionResponse(text=text, delta=delta)


class AnswersAsUser(FakeLLM):
    """Its answers have the role of the user."""

    fails: ClassVar[set[str]] = {
        "test_answers",
        "test_accepts_every_conversation",
        "test_function_agent",
    }

    def response(self, *args: Any, **kwargs: Any) -> Any:
        item = super().response(*args, **kwargs)
        message = item.message.model_copy(update={"role": MessageRole.USER})
        return item.model_copy(update={"message": message})


class IsRandom(FakeLLM):
    """It never gives the same answer twice."""

    fails: ClassVar[set[str]] = {
        "test_same_answer_each_time",
        "test_stop_ends_the_answer",
        "test_answers_are_not_mixed_up",
        "test_predicts_the_same",
    }

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        source = super().answer(text, stop)
        source.text = f"{random.random()} {source.text}"  # noqa: S311 - any number will do
        return source


class AnswersBlank(FakeLLM):
    """Its answers are blank."""

    fails: ClassVar[set[str]] = {"test_answers", "test_predicts", "test_deltas_make_up_the_text"}

    def answer(self, text: str, stop: Sequence[str]) -> Source:
        source = super().answer(text, stop)
        source.text = "\n"
        return source


class RenamesPrompt(FakeLLM):
    """Its parameter is not called ``prompt``."""

    fails: ClassVar[set[str]] = {"test_prompt_may_be_a_keyword"}

    def complete(self, text: str, formatted: bool = False, **kwargs: Any) -> Any:
        return super().complete(text, formatted, **kwargs)


class SlowMetadata(FakeLLM):
    """Its metadata are slow and inconsistent."""

    fails: ClassVar[set[str]] = {"test_metadata", "test_model_name", "test_metadata_is_cheap"}

    @property
    def metadata(self) -> LLMMetadata:
        time.sleep(0.002)
        return LLMMetadata(num_output=4096, is_chat_model=True, is_function_calling_model=True)


class OnlyCallsFunctions(FakeLLM):
    """It calls functions, but is no chat model; and has no name."""

    fails: ClassVar[set[str]] = {"test_function_calling_model_is_a_chat_model", "test_class_name"}

    @classmethod
    def class_name(cls) -> str:
        return "base_component"

    @property
    def metadata(self) -> LLMMetadata:
        return super().metadata.model_copy(update={"is_chat_model": False})


class HoldsAnObject(FakeLLM):
    """Its dictionary is not JSON."""

    fails: ClassVar[set[str]] = {"test_dictionary_is_json"}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().to_dict(**kwargs), "model": object()}


class StoresItsKey(FakeLLM):
    """Its dictionary holds its key."""

    fails: ClassVar[set[str]] = {"test_dictionary_holds_no_secret"}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().to_dict(**kwargs), "api_key": self.api_key}
