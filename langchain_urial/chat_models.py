"""ChatUrial: a base model as a LangChain chat model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from langchain_urial.batching import (
    aanswer,
    abatch_each,
    abatch_together,
    answer,
    batch_each,
    batch_together,
)
from langchain_urial.call import Call
from langchain_urial.errors import langchain_errors
from langchain_urial.foresight import aanswer_ahead, answer_ahead, foreseeing
from langchain_urial.profile import profile_of
from langchain_urial.replies import PROVIDER, delta_chunk, end_chunk, generation
from langchain_urial.tool_calling import ToolCallingChatModel
from langchain_urial.tools import ToolLike, openai_tools
from langchain_urial.translation import core_messages
from langchain_urial.wrapping import wrap
from urial_core import (
    Prompt,
    Reply,
    ReplyEnd,
    TextDelta,
    ToolCallDelta,
    UrialChat,
    __version__,
    load_prompt,
)
from urial_core.backends.naming import NamesModel, with_backend_options
from urial_core.backends.wrapped import WrappedModel
from urial_core.composing import Overflow, ReplyRequest, conversation_text
from urial_core.errors import UnsupportedModelError, UrialError
from urial_core.openai_tools import parse_tools

__all__ = ["ChatUrial"]

_TRACED = ("temperature", "max_tokens")


class ChatUrial(NamesModel, ToolCallingChatModel):
    """A base (untuned) LLM as a chat model, by in-context learning alone (URIAL).

    Setup:
        ``pip install "urial-chat[langchain,transformers]"``

    Instantiate:
        .. code-block:: python

            from langchain_urial import ChatUrial

            chat = ChatUrial.from_model_id("google/gemma-3-270m")  # in this process
            chat = ChatUrial.from_endpoint("http://127.0.0.1:8000/v1")  # behind a server
            chat = ChatUrial(llm=any_langchain_llm)                # around a completion LLM

    Invoke:
        .. code-block:: python

            chat.invoke([("system", "Answer in one sentence."), ("human", "Why is the sky blue?")])

    Stream:
        .. code-block:: python

            for chunk in chat.stream("Why is the sky blue?"):
                print(chunk.text, end="", flush=True)

    Async:
        .. code-block:: python

            await chat.ainvoke("Why is the sky blue?")

    Tool calling:
        .. code-block:: python

            chat.bind_tools([get_weather]).invoke("What is the weather in Paris?").tool_calls

    Structured output:
        .. code-block:: python

            chat.with_structured_output(Recipe).invoke("How do I boil an egg?")

    Token usage:
        ``message.usage_metadata``; ``input_token_details["cache_read"]`` counts tokens whose
        attention state was reused.

    Response metadata:
        ``finish_reason`` ("stop", "length" or "tool_calls"), ``end_reason`` ("delimiter",
        "end_of_text", "stop_string", "length" or "tool_calls"), ``model_name``,
        ``model_provider``, ``logprobs`` if asked for, ``truncated_messages`` if the conversation had
        to be shortened, ``validation_error`` (what is wrong) if the reply does not fit its
        ``response_format``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, populate_by_name=True, extra="forbid")

    llm: Any = Field(default=None, exclude=True, repr=False)
    """The base model: a LangChain LLM, ``.bind(...)`` of one, or a core ``CompletionModel``."""

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
    """Whether a final AI message is the beginning of the reply, to be continued."""

    context_window: int | None = None
    """The model's window in tokens, where it cannot be found out."""

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

    n: int = 1
    """Replies per request; ``invoke`` returns the first, ``generate`` all."""

    logprobs: bool = False
    """Whether to report log-probabilities."""

    top_logprobs: int | None = None
    """How many alternatives to report for each token; implies ``logprobs``."""

    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    """Strings at which every reply ends, beside those of the call."""

    streaming: bool | None = None
    """Whether ``invoke`` streams inside; False, where it was set, keeps ``stream`` from it too."""

    timeout: float | None = None
    """Of ``from_endpoint``; elsewhere without effect: set it on ``llm``, which makes the calls."""

    max_retries: int | None = None
    """Of ``from_endpoint``; elsewhere without effect: set it on ``llm``, which makes the calls."""

    api_key: SecretStr | None = Field(default=None, exclude=True)
    """A token for the hub, where ``model`` needs one; or the key given to ``from_endpoint``."""

    _wrapped: WrappedModel = PrivateAttr()
    _prompt: Prompt = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _collect_backend_options(cls, values: Any) -> Any:
        """Let the engine's options stand among the fields, as ``init_chat_model`` passes them."""
        return with_backend_options(values)

    @model_validator(mode="after")
    def _set_up_urial(self) -> Self:
        self._set_up()
        return self

    @model_validator(mode="after")
    def _set_urial_version(self) -> Self:
        self._add_version("urial-chat", __version__)
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy everything but the model."""
        shared = {id(part): part for part in (self.llm, self._wrapped)}
        return super().__deepcopy__({**(memo or {}), **shared})

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "__pydantic_private__": {}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Find or wrap the model anew: pickled were the settings."""
        super().__setstate__(state)
        self._set_up()

    @property
    def urial(self) -> UrialChat:
        """The core's chat: the model behind its prompt."""
        return self._call({}).chat

    @property
    def prefix_tokens(self) -> int:
        """Tokens of the constant page that stands before every conversation."""
        return self._wrapped.model.count_tokens(self._prompt.prefix)

    def get_token_ids(self, text: str) -> list[int]:
        """Encode a text with the model's own tokenizer.

        Raises:
            UnsupportedModelError: The tokenizer is out of reach.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        encode = self._wrapped.model.tokenizer
        if encode is None:
            raise UnsupportedModelError(
                f"The tokenizer of {self.model_name} is out of reach: pass "
                "custom_get_token_ids=, a function from text to token ids."
            )
        return encode(text)

    def get_num_tokens(self, text: str) -> int:
        """Count a text's tokens; a careful guess where the tokenizer is out of reach."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return self._wrapped.model.count_tokens(text)

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[ToolLike] | None = None
    ) -> int:
        """Count the tokens of messages, and of tools, as they stand on the page.

        The constant page before them is not counted, so that ``trim_messages`` means what it says;
        ``prefix_tokens`` tells its size, and ``profile["max_input_tokens"]`` leaves it out.
        """
        use = parse_tools(openai_tools(tools or ()))
        known = use.tools if use else ()
        return self.get_num_tokens(conversation_text(self._prompt, core_messages(messages), known))

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several inputs as one batch of the model's.

        ``config["max_concurrency"]`` is the most that are answered together. A server that
        schedules requests itself is kept busy with as many: when one ends, the next begins.
        """

        def invoke(index: int, own: RunnableConfig) -> AIMessage:
            try:
                return self.invoke(inputs[index], own, **kwargs)
            except Exception as error:
                if return_exceptions:
                    return error  # type: ignore[return-value] # as Runnable.batch does
                raise

        batch = batch_each if self._is_scheduled() else batch_together
        return batch(invoke, get_config_list(config, len(inputs)))

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """As ``batch``, without blocking the event loop."""

        async def ainvoke(index: int, own: RunnableConfig) -> AIMessage:
            return await self.ainvoke(inputs[index], own, **kwargs)

        configs = get_config_list(config, len(inputs))
        abatch = abatch_each if await asyncio.to_thread(self._is_scheduled) else abatch_together
        return await abatch(ainvoke, configs, return_exceptions=return_exceptions)

    def generate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several conversations as one batch, unless a cache may know some of them."""
        with foreseeing([] if self._may_be_cached else messages):
            return super().generate(messages, *args, **kwargs)

    async def agenerate(
        self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any
    ) -> LLMResult:
        """As ``generate``, without blocking the event loop."""
        with foreseeing([] if self._may_be_cached else messages):
            return await super().agenerate(messages, *args, **kwargs)

    def _is_scheduled(self) -> bool:
        try:
            return self._wrapped.model.features.schedules_requests
        except UrialError:  # out of reach: each input says so, where its caller looks for errors
            return False

    @property
    def _may_be_cached(self) -> bool:
        return self.cache is not False and bool(self.cache or get_llm_cache())

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(kwargs, stop)
        with langchain_errors():
            requests = call.requests(messages)
            replies = answer_ahead(
                requests, call.requests, lambda asked: answer(asked, call.chat.reply)
            )
        return _result(call, requests, replies)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(kwargs, stop)
        with langchain_errors():
            requests = await asyncio.to_thread(call.requests, messages)
            replies = await aanswer_ahead(
                requests, call.requests, lambda asked: aanswer(asked, call.chat.areply)
            )
        return _result(call, requests, replies)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(kwargs, stop)
        with langchain_errors():
            request = call.requests(messages)[0]
        with langchain_errors(), closing(call.chat.stream(request)) as events:
            for event in events:
                chunk = _chunk(event, call, request)
                if run_manager:
                    run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self._call(kwargs, stop)
        with langchain_errors():
            request = (await asyncio.to_thread(call.requests, messages))[0]
        with langchain_errors():
            async with aclosing(call.chat.astream(request)) as events:
                async for event in events:
                    chunk = _chunk(event, call, request)
                    if run_manager:
                        await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                    yield chunk

    @property
    def _llm_type(self) -> str:
        return "urial-chat"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """All that decides a reply: LangChain's cache tells models apart by it."""
        return {
            "model": self.model_name,
            "base_model": dict(self._wrapped.model.cache_key),
            "prompt": self._prompt.name,
            "prompt_digest": self._prompt.digest,
            "overflow": self.overflow,
            "prefill": self.prefill,
            "context_window": self.context_window,
            "parameters": repr(self._call({}).parameters),
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        parameters = self._call({k: v for k, v in kwargs.items() if k in _TRACED}, stop).parameters
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_name=kwargs.get("model") or str(self.model_name),
            ls_model_type="chat",
            ls_temperature=parameters.temperature,
        )
        if parameters.max_tokens is not None:
            params["ls_max_tokens"] = parameters.max_tokens
        if parameters.stop:
            params["ls_stop"] = list(parameters.stop)
        return params

    def _set_up(self) -> None:
        self._prompt = load_prompt(self.prompt)
        self._wrapped = self._named_model(lambda llm: wrap(llm, self.custom_get_token_ids))
        self.profile = self.profile or profile_of(
            self._wrapped.model, self._prompt, self.context_window
        )
        self._call({})  # so that a wrong parameter is an error here, not at the first call

    def _call(self, kwargs: Mapping[str, Any], stop: Sequence[str] | None = None) -> Call:
        return Call.of(self, self._wrapped, self._prompt, kwargs, stop)


def _result(call: Call, requests: Sequence[ReplyRequest], replies: Sequence[Reply]) -> ChatResult:
    generations = [
        generation(reply, request, call.model_name)
        for reply, request in zip(replies, requests, strict=True)
    ]
    return ChatResult(generations=generations, llm_output={"model_name": call.model_name})


def _chunk(
    event: TextDelta | ToolCallDelta | ReplyEnd, call: Call, request: ReplyRequest
) -> ChatGenerationChunk:
    if isinstance(event, ReplyEnd):
        return end_chunk(event, request, call.model_name)
    return delta_chunk(event)
