"""UrialLLM: a base model as a LlamaIndex LLM."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, closing
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
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from llamaindex_urial.call import Call
from llamaindex_urial.leaving import aleavable, leavable
from llamaindex_urial.responses import ChatResponses, CompletionResponses
from llamaindex_urial.structured import StructuredPredictionLLM
from llamaindex_urial.window import Window, num_output, warn_if_too_small
from llamaindex_urial.wrapping import wrap
from urial_core import Prompt, Reply, UrialChat, load_prompt
from urial_core.backends.naming import NamesModel, with_backend_options
from urial_core.backends.wrapped import WrappedModel
from urial_core.composing import Overflow, ReplyRequest
from urial_core.errors import UnsupportedModelError

__all__ = ["UrialLLM"]


class UrialLLM(NamesModel, StructuredPredictionLLM):
    """A base (untuned) LLM as a LlamaIndex LLM, by in-context learning alone (URIAL).

    Set-up: ``pip install "urial-chat[llamaindex,transformers]"``

    Example:
        .. code-block:: python

            from llama_index.core import Settings
            from llamaindex_urial import UrialLLM

            Settings.llm = UrialLLM.from_model_id("google/gemma-3-270m")  # in this process
            Settings.llm = UrialLLM.from_endpoint("http://127.0.0.1:8000/v1")  # behind a server
            Settings.llm = UrialLLM(llm=any_completion_llm)               # around another LLM

    ``complete`` puts a prompt on the page as one query; ``complete(..., formatted=True)`` hands the
    text to the base model as it is and returns what that writes, uncut. In a response, ``raw``
    holds ``usage`` (with ``cached_tokens``), ``finish_reason`` ("stop", "length" or
    "tool_calls"), ``end_reason``, ``model``, ``truncated_messages`` if the conversation had to be
    shortened, and ``validation_error`` (what is wrong) if the answer does not fit its ``response_format``.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, populate_by_name=True, extra="forbid", protected_namespaces=()
    )

    llm: Any = Field(default=None, exclude=True, repr=False)
    """The base model: a LlamaIndex LLM, a LangChain LLM, or a core ``CompletionModel``."""

    model_name: str | None = Field(
        default_factory=lambda: os.environ.get("URIAL_MODEL"), alias="model"
    )
    """Without ``llm``: a hub id, folder or ``.gguf`` file to run in this process. Default:
    ``$URIAL_MODEL``. With ``llm``: what to call it in metadata."""

    backend_options: dict[str, Any] = Field(default_factory=dict)
    """Without ``llm``: ``engine`` and the engine's options; see ``from_model_id``."""

    prompt: str | Path | Prompt = "default"
    """A preset's name, a prompt file, or a ``urial_core.Prompt``."""

    overflow: Overflow = "error"
    """When a conversation does not fit the window: "error", or "truncate" to drop its oldest turns."""

    prefill: bool = False
    """Whether a final assistant message is the beginning of the reply, to be continued."""

    context_window: int | None = None
    """The model's whole window in tokens, where it cannot be found out. ``metadata`` reports what
    it leaves beside the page."""

    max_tokens: int | None = None
    """Most tokens of a reply. Default: 1024, or what the window leaves."""

    temperature: float | None = None
    """0 is greedy. Default: what ``llm`` says, or 0."""

    top_p: float | None = None
    """Nucleus sampling. Default: what ``llm`` says, or 1."""

    top_k: int | None = None
    """Sample from this many tokens. Default: what ``llm`` says, or no limit."""

    repetition_penalty: float | None = None
    """Over the reply's own tokens. Default: what ``llm`` says, or 1.1."""

    frequency_penalty: float | None = None
    """Over the reply's own tokens. Default: what ``llm`` says, or 0."""

    presence_penalty: float | None = None
    """Over the reply's own tokens. Default: what ``llm`` says, or 0."""

    seed: int | None = None
    """Makes sampling repeatable."""

    logprobs: bool = False
    """Whether to report log-probabilities."""

    top_logprobs: int | None = None
    """How many alternatives to report for each token; implies ``logprobs``."""

    stop: list[str] | None = None
    """Strings at which every reply ends, beside those of the call."""

    is_function_calling_model: bool = True
    """Whether agents and programs may hand it tools. False makes them use text alone (ReAct)."""

    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """A token for the hub, where ``model`` needs one; or the key given to ``from_endpoint``."""

    _wrapped: WrappedModel = PrivateAttr()
    _prompt: Prompt = PrivateAttr()
    _window: Window = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _collect_backend_options(cls, values: Any) -> Any:
        """Let the engine's options stand among the fields."""
        return with_backend_options(values)

    @model_validator(mode="after")
    def _set_up_urial(self) -> Self:
        self._set_up()
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy everything but the model."""
        shared = {id(part): part for part in (self.llm, self._wrapped, self._window)}
        return super().__deepcopy__({**(memo or {}), **shared})

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "urial_llm"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex plans with: the window is what the page leaves of it."""
        return self._metadata(self._window.room)

    @property
    def urial(self) -> UrialChat:
        """The core's chat: the model behind its prompt."""
        return self._call({}).chat

    @property
    def prefix_tokens(self) -> int:
        """Tokens of the constant page that stands before every conversation."""
        return self._wrapped.model.count_tokens(self._prompt.prefix)

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """The model's own tokenizer, from text to token ids.

        LlamaIndex counts with OpenAI's unless told otherwise; see ``use_tokenizer``.

        Raises:
            UnsupportedModelError: The tokenizer is out of reach.
        """
        encode = self._wrapped.model.tokenizer
        if encode is None:
            raise UnsupportedModelError(f"The tokenizer of {self.model_name} is out of reach.")
        return encode

    def use_tokenizer(self) -> None:
        """Have all of LlamaIndex count with this model's tokenizer, from now on.

        What was made before (splitters, memories, ``Settings.prompt_helper``) keeps its own.
        """
        set_global_tokenizer(self.tokenizer)

    def to_payload(self) -> dict[str, Any]:
        """What events tell of this LLM: metadata, model and temperature; no secrets.

        Nothing is loaded for it: before the first use, the window is an estimate, or left out.
        """
        room = self._window.room_at_hand
        unknown = {"context_window", "num_output"} if room is None else set[str]()
        return {
            "class_name": self.class_name(),
            **self._metadata(room or 0).model_dump(exclude=unknown),
            "model": self.model_name,
            "temperature": self._call({}).parameters.resolved().temperature,
        }

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        call = self._call(kwargs)
        request = call.request(messages)
        return ChatResponses(request, call.model_name).whole(_reply(call, request))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """As ``chat``, without blocking the event loop."""
        call = self._call(kwargs)
        request = await asyncio.to_thread(call.request, messages)
        return ChatResponses(request, call.model_name).whole(await _areply(call, request))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece; leaving early stops the model."""

        def start(_: Self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
            call = self._call(kwargs)
            request = call.request(messages)
            return _stream(call, request, ChatResponses(request, call.model_name))

        return leavable(llm_chat_callback(), start, self, messages, **kwargs)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """As ``stream_chat``, without blocking the event loop."""

        async def start(
            _: Self, messages: Sequence[ChatMessage], **kwargs: Any
        ) -> ChatResponseAsyncGen:
            call = self._call(kwargs)
            request = await asyncio.to_thread(call.request, messages)
            return _astream(call, request, ChatResponses(request, call.model_name))

        return await aleavable(llm_chat_callback(), start, self, messages, **kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, or with ``formatted=True`` have the base model continue it as it is."""
        call = self._call(kwargs)
        request = _completion_request(call, prompt, formatted=formatted)
        return CompletionResponses(request, call.model_name).whole(_reply(call, request))

    @llm_completion_callback()
    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> CompletionResponse:
        """As ``complete``, without blocking the event loop."""
        call = self._call(kwargs)
        request = await asyncio.to_thread(_completion_request, call, prompt, formatted=formatted)
        return CompletionResponses(request, call.model_name).whole(await _areply(call, request))

    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """As ``complete``, piece by piece; leaving early stops the model."""

        def start(_: Self, prompt: str, **kwargs: Any) -> CompletionResponseGen:
            call = self._call(kwargs)
            request = _completion_request(call, prompt, formatted=formatted)
            return _stream(call, request, CompletionResponses(request, call.model_name))

        return leavable(llm_completion_callback(), start, self, prompt, **kwargs)

    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """As ``stream_complete``, without blocking the event loop."""

        async def start(_: Self, prompt: str, **kwargs: Any) -> CompletionResponseAsyncGen:
            call = self._call(kwargs)
            request = await asyncio.to_thread(
                _completion_request, call, prompt, formatted=formatted
            )
            return _astream(call, request, CompletionResponses(request, call.model_name))

        return await aleavable(llm_completion_callback(), start, self, prompt, **kwargs)

    def _metadata(self, room: int) -> LLMMetadata:
        return LLMMetadata(
            context_window=room,
            num_output=num_output(room, self._call({}).parameters.max_tokens),
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model,
            model_name=str(self.model_name),
            system_role=MessageRole.SYSTEM,
        )

    def _set_up(self) -> None:
        self._prompt = load_prompt(self.prompt)
        self._wrapped = self._named_model(wrap)
        self._window = Window(self._wrapped.model, self._prompt, self.context_window)
        call = self._call({})  # so that a wrong parameter is an error here, not at the first call
        warn_if_too_small(self._window, self._prompt, call.parameters.max_tokens)

    def _call(self, kwargs: Mapping[str, Any]) -> Call:
        return Call.of(self, self._wrapped, self._prompt, kwargs)


def _completion_request(call: Call, prompt: str, *, formatted: bool) -> ReplyRequest:
    if formatted:
        return call.plain_request(prompt)
    return call.request([ChatMessage(role=MessageRole.USER, content=prompt)])


def _reply(call: Call, request: ReplyRequest) -> Reply:
    return call.chat.reply([request])[0]


async def _areply(call: Call, request: ReplyRequest) -> Reply:
    return (await call.chat.areply([request]))[0]


def _stream(call: Call, request: ReplyRequest, responses: Any) -> Generator[Any]:
    with closing(call.chat.stream(request)) as events:
        for event in events:
            yield responses.add(event)


async def _astream(call: Call, request: ReplyRequest, responses: Any) -> AsyncGenerator[Any]:
    async with aclosing(call.chat.astream(request)) as events:
        async for event in events:
            yield responses.add(event)
