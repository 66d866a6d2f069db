"""Structured prediction: an answer that is one JSON object of a pydantic class.

LlamaIndex's default requests a tool call. Here the answer itself is constrained to the class's
schema, which needs no tool examples in the prompt and keeps the system prompt in async calls too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import closing
from typing import Any, cast

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.program.utils import process_streaming_objects
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import Model, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel

from llamaindex_urial.tools import ToolCallingLLM
from urial_core.errors import GenerationError, ParameterError
from urial_core.inner_stream import InnerStream
from urial_core.structured.pydantic_schema import parse_json, schema_of_type

__all__ = ["StructuredPredictionLLM"]

dispatcher = get_dispatcher(__name__)


_AS_ANSWER = (PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM)
"""Modes whose objects are constrained answers. LlamaIndex's program for text constrains nothing,
and streams a cut object as a whole one.
"""


_STREAMED_AS_ANSWER = (*_AS_ANSWER, PydanticProgramMode.FUNCTION)
"""Modes whose streams are constrained answers. LlamaIndex's program for function calls requires no
call where it streams, reads none from ``ToolCallBlock``, and makes a blank object of what is left.
"""


_OF_CALLS = ("tool_required", "tool_choice", "allow_parallel_tool_calls")
"""What programs for function calls are given beside the arguments of ``chat``."""


class StructuredPredictionLLM(ToolCallingLLM):
    """An LLM whose structured answers are constrained to their schema by ``response_format``."""

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Answer with an object of a pydantic class, or of a type such as ``list[Person]``.

        Raises:
            UnsupportedSchemaError: No value can match the schema.
            ValidationError: The model's output does not match the class.
            GenerationError: ``max_tokens`` ran out before the object was complete (the error's
                ``text`` is what there is of it); or it matches the class, but not its schema, or
                it reached a limit.
        """
        if self.pydantic_program_mode not in _AS_ANSWER and _is_class(output_cls):
            found = super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return cast("Model", found)
        _dispatch_start(output_cls, prompt, prompt_args)
        messages = self._get_messages(prompt, **prompt_args)
        return _parsed(output_cls, self.chat(messages, **_format_arguments(output_cls, llm_kwargs)))

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """As ``structured_predict``, without blocking the event loop."""
        if self.pydantic_program_mode not in _AS_ANSWER and _is_class(output_cls):
            found = await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return cast("Model", found)
        _dispatch_start(output_cls, prompt, prompt_args)
        messages = self._get_messages(prompt, **prompt_args)
        arguments = _format_arguments(output_cls, llm_kwargs)
        return _parsed(output_cls, await self.achat(messages, **arguments))

    def as_structured_llm(self, output_cls: type[BaseModel], **kwargs: Any) -> StructuredLLM:
        """Return an LLM whose answers are objects of a pydantic class.

        Raises:
            ParameterError: It is another type.
        """
        if not _is_class(output_cls):
            raise ParameterError(
                f"output_cls is {output_cls!r}: as_structured_llm takes a pydantic class, such as "
                "a RootModel of that type. structured_predict takes the type itself."
            )
        return super().as_structured_llm(output_cls, **kwargs)

    def stream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any]:
        """Stream an object of a pydantic class; that of another type comes once, as a whole."""
        if _is_class(output_cls):
            yield from super().stream_structured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
        else:
            yield self.structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    async def astream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any]:
        """As ``stream_structured_predict``, without blocking the event loop."""
        if _is_class(output_cls):
            return await super().astream_structured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )

        async def whole() -> AsyncGenerator[Any]:
            yield await self.astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

        return whole()

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any]:
        if self.pydantic_program_mode not in _STREAMED_AS_ANSWER:
            yield from super()._structured_stream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return
        partials = _Partials(output_cls)
        messages = self._get_messages(prompt, **prompt_args)
        with closing(
            self.stream_chat(messages, **_format_arguments(output_cls, llm_kwargs))
        ) as responses:
            for response in responses:
                if (found := partials.take(response)) is not None:
                    yield found

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any]:
        if self.pydantic_program_mode not in _STREAMED_AS_ANSWER:
            return await super()._structured_astream_call(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
        messages = self._get_messages(prompt, **prompt_args)
        responses = await self.astream_chat(messages, **_format_arguments(output_cls, llm_kwargs))

        async def objects() -> AsyncGenerator[Any]:
            partials = _Partials(output_cls)
            async with InnerStream(responses) as items:
                async for response in items:
                    if (found := partials.take(response)) is not None:
                        yield found

        return objects()


class _Partials:
    """Makes objects of a streamed answer; fields that are missing so far are None."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._output_cls = output_cls
        self._last: list[Any] | None = None

    def take(self, response: ChatResponse) -> Any:
        """Return the object so far; None while the text is not enough for one."""
        if response.raw is not None:  # the last of the stream: all of it must be valid
            return _validated(self._output_cls, response)
        if not response.message.content:
            return None
        try:
            found = process_streaming_objects(response, self._output_cls, cur_objects=self._last)
        except ValueError:
            return None
        self._last = found if isinstance(found, list) else [found]
        return self._last[0] if self._last else None


def _is_class(output_cls: Any) -> bool:
    """Return whether a type is a pydantic class, as LlamaIndex's programs and streams require."""
    return isinstance(output_cls, type) and issubclass(output_cls, BaseModel)


def _format_arguments(
    output_cls: type[BaseModel], llm_kwargs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the keyword arguments of ``chat`` for an answer of a class, which is no call."""
    name = getattr(output_cls, "__name__", "output")
    written = {"name": name, "schema": schema_of_type(output_cls)}
    return {
        **{name: value for name, value in (llm_kwargs or {}).items() if name not in _OF_CALLS},
        "response_format": {"type": "json_schema", "json_schema": written},
    }


def _parsed(output_cls: type[Model], response: ChatResponse) -> Model:
    """Return the object in a response, and report it to LlamaIndex's handlers."""
    output = _validated(output_cls, response)
    dispatcher.event(LLMStructuredPredictEndEvent(output=output))
    return output


def _validated(output_cls: type[Model], response: ChatResponse) -> Model:
    """Return the object in a response that matches its schema as it was given."""
    _raise_if_cut(response)
    text = response.message.content or ""
    found: Model = parse_json(output_cls, text)
    if response.raw and (error := response.raw.get("validation_error")):
        raise GenerationError(f"The reply does not match the schema: {error}", text)
    return found


def _raise_if_cut(response: ChatResponse) -> None:
    """Raise if a response, of which this is the last of a stream, reached ``max_tokens``."""
    if response.raw is not None and response.raw["finish_reason"] == "length":
        raise GenerationError(
            "max_tokens ran out before the object was complete: raise max_tokens. What there is "
            "of it is in this error's `text`.",
            response.message.content or "",
        )


def _dispatch_start(
    output_cls: type[Any], prompt: PromptTemplate, prompt_args: Mapping[str, Any]
) -> None:
    dispatcher.event(
        LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=dict(prompt_args)
        )
    )
