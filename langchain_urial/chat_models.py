"""ChatUrial: a base model as a LangChain chat model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar, Self, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list, get_executor_for_config
from pydantic import ConfigDict, Field, model_validator

from langchain_urial.replies import PROVIDER, event_chunk, generation, langchain_errors
from langchain_urial.structured_output import ToolCallingChatModel, openai_format
from langchain_urial.tools import ToolLike, openai_choice, openai_tools
from langchain_urial.translation import core_messages
from langchain_urial.wrapping import wrap
from urial_core import Reply, __version__
from urial_core.backends.wrapping import WrappedModel
from urial_core.call import Call
from urial_core.chat_settings import ChatSettings
from urial_core.completion import estimate_tokens
from urial_core.composing import ReplyRequest, conversation_text, overhead_text
from urial_core.errors import MissingDependencyError, UnsupportedModelError
from urial_core.inner_stream import InnerStream
from urial_core.openai_tools import parse_tools
from urial_core.tool_choice import parallel_calls

__all__ = ["ChatUrial", "register"]

_MAX_CONCURRENCY = 64
"""Conversations that a thread each waits for, where no ``max_concurrency`` is set."""
_MIN_INPUT_TOKENS = 128
"""The least input limit of a profile: where the window leaves less, even one query hardly fits, and
a limit near 0 would have LangChain trim or summarise away every message."""
_TRACED = ("temperature", "max_tokens")


class ChatUrial(ChatSettings, ToolCallingChatModel):
    """A base (untuned) LLM as a chat model, by in-context learning alone (URIAL).

    Setup:
        ``pip install -e ".[langchain,transformers]"`` in a copy of the repository

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
        ``message.usage_metadata``; ``input_token_details["cache_read"]`` counts tokens that were
        found in the prefix cache.

    Response metadata:
        ``finish_reason`` ("stop", "length" or "tool_calls"), ``end_reason`` ("delimiter",
        "end_of_text", "stop_string", "template", "length" or "tool_calls"), ``model_name``,
        ``model_provider``, ``logprobs`` if asked for, ``truncated_messages`` (how many) if the
        conversation was truncated, ``validation_error`` if the reply does not match its
        ``response_format``.
    """

    model_config = ConfigDict(extra="forbid")

    n: int = 1
    """Replies per request; ``invoke`` returns the first, ``generate`` all."""

    stop: str | list[str] | None = Field(default=None, alias="stop_sequences")
    """Strings at which every reply ends, beside those of the call."""

    streaming: bool | None = None
    """Whether ``invoke`` streams inside. False disables ``stream`` as well."""

    timeout: float | None = None
    """Of ``from_endpoint``; elsewhere without effect: set it on ``llm``, which makes the calls."""

    max_retries: int | None = None
    """Of ``from_endpoint``; elsewhere without effect: set it on ``llm``, which makes the calls."""

    _fixed: ClassVar[frozenset[str]] = frozenset({"timeout", "max_retries"})
    _of_the_model: ClassVar[frozenset[str]] = frozenset(
        {"llm", "backend_options", "api_key", "custom_get_token_ids"}
    )

    @model_validator(mode="after")
    def _set_urial_version(self) -> Self:
        self._add_version("urial-chat", __version__)
        return self

    def _change(self, update: Mapping[str, Any]) -> None:
        is_derived = self.profile == self._resolve_model_profile()
        super()._change(update)
        if is_derived and "profile" not in update:
            self.profile = self._resolve_model_profile()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Set the settings, and find or wrap the model anew."""
        super().__setstate__(state)
        self._set_up()

    def get_token_ids(self, text: str) -> list[int]:
        """Encode a text with the model's own tokenizer.

        Raises:
            UnsupportedModelError: The tokenizer is not available.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        encode = self._wrapped.model.tokenizer
        if encode is None:
            raise UnsupportedModelError(
                f"The tokenizer of {self.model_name} is not available: pass "
                "custom_get_token_ids=, a function from text to token ids."
            )
        return encode(text)

    def get_num_tokens(self, text: str) -> int:
        """Count a text's tokens; estimate them where the tokenizer is not available."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return self._wrapped.model.count_tokens(text)

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[ToolLike] | None = None
    ) -> int:
        """Count the tokens of messages and tools as they are written in the prompt.

        The constant prompt prefix before them is not counted, so that ``trim_messages`` trims to
        the size it is given; ``prefix_tokens`` is the prefix's size, and
        ``profile["max_input_tokens"]`` leaves it and the tool examples out.
        """
        use = parse_tools(openai_tools(tools or ()))
        text = conversation_text(self._prompt, core_messages(messages), use.tools if use else ())
        return self.get_num_tokens(text)

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer several inputs side by side.

        Without ``config["max_concurrency"]``, 64 at a time rather than LangChain's few for each
        processor: an engine that batches requests continuously is faster with many.
        """
        first, *others = get_config_list(config, len(inputs)) or [RunnableConfig()]
        configs = [{**first, "max_concurrency": _max_concurrency(first)}, *others]
        own = cast("list[RunnableConfig]", configs[: len(inputs)])
        return super().batch(inputs, own, return_exceptions=return_exceptions, **kwargs)

    def generate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several conversations side by side."""
        if len(messages) < 2:
            return super().generate(messages, *args, **kwargs)

        def generate(number: int) -> LLMResult:
            # The run id is the first conversation's.
            own = {**kwargs, "run_id": None if number else kwargs.get("run_id")}
            return self.generate([messages[number]], *args, **own)

        with get_executor_for_config({"max_concurrency": _MAX_CONCURRENCY}) as threads:
            return self._combined(list(threads.map(generate, range(len(messages)))))

    def _combined(self, results: Sequence[LLMResult]) -> LLMResult:
        """Make one result of those of several conversations."""
        return LLMResult(
            generations=[replies for result in results for replies in result.generations],
            llm_output=self._combine_llm_outputs([result.llm_output for result in results]),
            run=[run for result in results for run in result.run or ()],
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            call, requests = self._requests(messages, stop, kwargs)
            replies = call.chat.reply(requests)
        return _result(call, requests, replies)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            call, requests = await asyncio.to_thread(self._requests, messages, stop, kwargs)
            replies = await call.chat.areply(requests)
        return _result(call, requests, replies)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with langchain_errors():
            call, [request, *_] = self._requests(messages, stop, kwargs)
            with closing(call.chat.stream(request)) as events:
                for event in events:
                    chunk = event_chunk(event, request, call.model_name)
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
        with langchain_errors():
            call, [request, *_] = await asyncio.to_thread(self._requests, messages, stop, kwargs)
            async with InnerStream(call.chat.astream(request)) as events:
                async for event in events:
                    chunk = event_chunk(event, request, call.model_name)
                    if run_manager:
                        await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                    yield chunk

    @property
    def _llm_type(self) -> str:
        return "urial-chat"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """All that decides a reply: part of the key of LangChain's cache."""
        return {
            "model": self.model_name,
            "base_model": dict(self._wrapped.model.cache_key),
            "prompt": self._prompt.name,
            "prompt_digest": self._prompt.digest,
            "overflow": self.overflow,
            "prefill": self.prefill,
            "stop_at_template": self.stop_at_template,
            "context_window": self.context_window,
            "examples": repr(self._examples),
            "decoding": repr(self._call({}).chat.decoding),
            "parameters": repr(self._call({}).parameters),
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        traced = {name: value for name, value in kwargs.items() if name in _TRACED}
        parameters = self._call({**traced, "stop": stop}).parameters
        params = LangSmithParams(
            # Not PROVIDER, which is a message's `model_provider`: where the two are equal,
            # SummarizationMiddleware compares reported usage, which holds the prompt prefix, with
            # `profile["max_input_tokens"]`, which leaves it out. This name only labels traces;
            # the other selects a message's translator and is the provider of `init_chat_model`.
            ls_provider=self._llm_type,
            ls_model_name=kwargs.get("model") or str(self.model_name),
            ls_model_type="chat",
            ls_temperature=parameters.temperature,
        )
        if parameters.max_tokens is not None:
            params["ls_max_tokens"] = parameters.max_tokens
        if parameters.stop:
            params["ls_stop"] = list(parameters.stop)
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        """Describe the model without loading anything.

        The input limit, where the window is known, is what the prompt prefix and the tool examples
        leave of it, by estimate: LangChain does not ask whether tools are bound. It holds the
        conversation, the tools' descriptions and the reply.
        """
        profile = ModelProfile(
            name=str(self.model_name),
            text_inputs=True,
            image_inputs=False,
            image_url_inputs=False,
            pdf_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            image_tool_message=False,
            pdf_tool_message=False,
            attachment=False,
            text_outputs=True,
            image_outputs=False,
            audio_outputs=False,
            video_outputs=False,
            reasoning_output=False,
            tool_calling=True,
            tool_choice=True,
            tool_call_streaming=True,
            structured_output=True,
            mid_conversation_system_messages=True,
            temperature=True,
        )
        if window := self.context_window or self._wrapped.model.known_context_window:
            overhead = estimate_tokens(overhead_text(self._prompt, with_tools=True))
            profile["max_input_tokens"] = max(window - overhead, min(_MIN_INPUT_TOKENS, window))
        if max_tokens := self._call({}).parameters.max_tokens:
            profile["max_output_tokens"] = max_tokens
        return profile

    def _wrap(self, llm: Any) -> WrappedModel:
        return wrap(llm, self.custom_get_token_ids)

    def _call(self, kwargs: Mapping[str, Any]) -> Call:
        given = {k: v for k, v in kwargs.items() if v is not None and k != "stream"}
        if {"tools", "tool_choice"} & given.keys():
            given["tools"] = openai_tools(given.get("tools", ()))
            choice, parallel = given.get("tool_choice"), given.get("parallel_tool_calls")
            given["parallel_tool_calls"] = parallel_calls(choice, parallel=parallel)
            given["tool_choice"] = openai_choice(choice, given["tools"])
        if "response_format" in given:
            given["response_format"] = openai_format(given["response_format"])
        return super()._call(given)

    def _requests(
        self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[Call, list[ReplyRequest]]:
        """Make a call and the requests for its conversation: a server may be asked meanwhile."""
        call = self._call({**kwargs, "stop": stop})
        return call, call.requests(core_messages(messages))


def register() -> None:
    """Register ChatUrial with LangChain's ``init_chat_model`` as the provider ``urial``.

    LangChain offers integrations outside its own repository no public way to do this, so the entry
    goes into a private table of ``langchain.chat_models.base``; hence never on import.

    Raises:
        MissingDependencyError: ``langchain`` is not installed, or has no such table any more.
    """
    try:
        from langchain.chat_models import base

        table: dict[str, tuple[str, str, Any]] = base._BUILTIN_PROVIDERS  # noqa: SLF001
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            "register() needs the langchain package, in a version with init_chat_model: "
            "pip install -U langchain"
        ) from error
    table[PROVIDER] = ("langchain_urial", ChatUrial.__name__, lambda cls, **kwargs: cls(**kwargs))


def _max_concurrency(config: RunnableConfig) -> int:
    return config.get("max_concurrency") or _MAX_CONCURRENCY


def _result(call: Call, requests: Sequence[ReplyRequest], replies: Sequence[Reply]) -> ChatResult:
    generations = [
        generation(reply, request, call.model_name)
        for reply, request in zip(replies, requests, strict=True)
    ]
    return ChatResult(generations=generations, llm_output={"model_name": call.model_name})
