"""UrialLLM: a base model as a LlamaIndex LLM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.utils import set_global_tokenizer
from pydantic import ConfigDict, PrivateAttr, SerializerFunctionWrapHandler, field_serializer

from llamaindex_urial.closing import aclosable, closable
from llamaindex_urial.responses import Responses, chat_response, completion_response
from llamaindex_urial.structured import StructuredPredictionLLM
from llamaindex_urial.translation import core_messages
from llamaindex_urial.window import Window, num_output, warn_if_too_small
from llamaindex_urial.wrapping import wrap
from urial_core.backends.wrapping import WrappedModel
from urial_core.chat_settings import ChatSettings
from urial_core.errors import UnsupportedModelError
from urial_core.prompts.prompt import Prompt

__all__ = ["UrialLLM"]


class UrialLLM(ChatSettings, StructuredPredictionLLM):
    """A base (untuned) LLM as a LlamaIndex LLM, by in-context learning alone (URIAL).

    Set-up: ``pip install -e ".[llamaindex,transformers]"`` in a copy of the repository

    Example:
        .. code-block:: python

            from llama_index.core import Settings
            from llamaindex_urial import UrialLLM

            Settings.llm = UrialLLM.from_model_id("google/gemma-3-270m")  # in this process
            Settings.llm = UrialLLM.from_endpoint("http://127.0.0.1:8000/v1")  # behind a server
            Settings.llm = UrialLLM(llm=any_completion_llm)               # around another LLM

    ``complete`` answers a prompt as one query; ``complete(..., formatted=True)`` has the base model
    continue the text as it is, and returns its whole completion. In a response, ``raw`` holds
    ``usage`` (with ``cached_tokens``), ``finish_reason`` ("stop", "length" or "tool_calls"),
    ``end_reason``, ``model``, ``truncated_messages`` (how many) if the conversation was truncated,
    and ``validation_error`` if the answer does not match its ``response_format``.
    """

    model_config = ConfigDict(extra="forbid")

    is_function_calling_model: bool = True
    """Whether agents and programs may pass tools. False makes them use text alone (ReAct)."""

    _window: Window = PrivateAttr()

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises it."""
        return "urial_llm"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Make an LLM of what ``to_dict`` wrote, and of further fields.

        The constructor takes no path in this form, so that a name from outside reads no file.
        """
        match data.get("prompt"):
            case {"path": str(path)}:
                data = {**data, "prompt": Path(path)}
        return super().from_dict(data, **kwargs)

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex plans with: the window is what the prompt prefix leaves of it.

        Window and output are given in tokens of LlamaIndex's tokenizer (``Settings.tokenizer``).
        The window includes the tool examples of an agent's prompt: query engines, which fill it,
        pass no tools. In a small one, an agent needs ``overflow="truncate"`` or a smaller memory.
        """
        return self._metadata(self._window.room, self._window.ratio)

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's own tokenizer, from text to token ids.

        LlamaIndex counts with OpenAI's tokenizer by default; see ``use_tokenizer``.

        Raises:
            UnsupportedModelError: The tokenizer is not available.
        """
        encode = self._wrapped.model.tokenizer
        if encode is None:
            raise UnsupportedModelError(f"The tokenizer of {self.model_name} is not available.")
        return encode

    def use_tokenizer(self) -> None:
        """Make LlamaIndex count with this model's tokenizer from now on.

        What was made before (splitters, memories, ``Settings.prompt_helper``) keeps its own.
        """
        set_global_tokenizer(self.tokenizer)

    def to_payload(self) -> dict[str, Any]:
        """Return what events report about this LLM: metadata, model and temperature; no secrets.

        Nothing is loaded for it: before the first use, the window is an estimate, or left out.
        """
        room, ratio = self._window.known_room, self._window.known_ratio
        unknown = {"context_window", "num_output"} if room is None or ratio is None else set[str]()
        return {
            "class_name": self.class_name(),
            **self._metadata(room or 0, ratio or 1).model_dump(exclude=unknown),
            "model": self.model_name,
            "temperature": self._call({}).parameters.resolved().temperature,
        }

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return self._chat_responses(messages, kwargs).reply()

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As ``chat``, without blocking the event loop."""
        responses = await asyncio.to_thread(self._chat_responses, messages, kwargs)
        return await responses.areply()

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Stream the answer to a conversation; closing the stream stops the model."""
        return closable(self._stream_chat(messages, **kwargs))

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """As ``stream_chat``, without blocking the event loop."""
        return aclosable(await self._astream_chat(messages, **kwargs))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, or with ``formatted=True`` have the base model continue it as it is."""
        return self._completion_responses(prompt, formatted, kwargs).reply()

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """As ``complete``, without blocking the event loop."""
        responses = await asyncio.to_thread(self._completion_responses, prompt, formatted, kwargs)
        return await responses.areply()

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """As ``complete``, streamed; closing the stream stops the model."""
        return closable(self._stream_complete(prompt, formatted, **kwargs))

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """As ``stream_complete``, without blocking the event loop."""
        return aclosable(await self._astream_complete(prompt, formatted, **kwargs))

    @llm_chat_callback()
    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._chat_responses(messages, kwargs).stream()

    @llm_chat_callback()
    async def _astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        return (await asyncio.to_thread(self._chat_responses, messages, kwargs)).astream()

    @llm_completion_callback()
    def _stream_complete(
        self, prompt: str, formatted: bool, **kwargs: Any
    ) -> CompletionResponseGen:
        return self._completion_responses(prompt, formatted, kwargs).stream()

    @llm_completion_callback()
    async def _astream_complete(
        self, prompt: str, formatted: bool, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        responses = await asyncio.to_thread(self._completion_responses, prompt, formatted, kwargs)
        return responses.astream()

    def _metadata(self, room: int, ratio: float) -> LLMMetadata:
        reply = num_output(room, self._call({}).parameters.max_tokens)
        return LLMMetadata(
            context_window=int(room / ratio),
            num_output=ceil(reply / ratio),
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model,
            model_name=str(self.model_name),
            system_role=MessageRole.SYSTEM,
        )

    @field_serializer("prompt", mode="wrap")
    def _write_prompt(self, prompt: Any, write: SerializerFunctionWrapHandler) -> Any:
        return {"path": str(prompt)} if isinstance(prompt, Path) else write(prompt)

    def _wrap(self, llm: Any) -> WrappedModel:
        return wrap(llm)

    def _set_up(self, wrapped: WrappedModel | None = None, prompt: Prompt | None = None) -> None:
        super()._set_up(wrapped, prompt)
        self._window = Window(self._wrapped.model, self._prompt, self.context_window)
        warn_if_too_small(self._window, self._prompt, self._call({}).parameters.max_tokens)

    def _chat_responses(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> Responses[ChatResponse]:
        """Make a call and the request for its conversation: a server may be asked meanwhile."""
        call = self._call(kwargs)
        request = call.request(core_messages(messages))
        return Responses(call, request, chat_response)

    def _completion_responses(
        self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]
    ) -> Responses[CompletionResponse]:
        """As ``_chat_responses``, for a prompt."""
        call = self._call(kwargs)
        if formatted:
            request = call.chat.plain_request(prompt, call.parameters)
        else:
            messages = [ChatMessage(role=MessageRole.USER, content=prompt)]
            request = call.request(core_messages(messages))
        return Responses(call, request, completion_response)
