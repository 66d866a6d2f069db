"""Structured output and tool binding: replies that match a schema, as the user's own types."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import (
    BaseOutputParser,
    BaseTransformOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import TBaseModel, is_basemodel_subclass
from pydantic import BaseModel, TypeAdapter

from langchain_urial.schemas import SchemaLike, is_type, json_schema, readable_type
from langchain_urial.tools import ToolChoice, ToolLike, openai_choice, openai_tools
from urial_core.errors import ParameterError
from urial_core.openai_tools import parse_response_format
from urial_core.structured.pydantic_schema import load_decimals, parse_json
from urial_core.tool_choice import parallel_calls

__all__ = ["Method", "ToolCallingChatModel", "openai_format"]

Method = Literal["json_schema", "function_calling", "json_mode"]
"""How a reply is made to match a schema."""

_FORMATS = ("json_schema", "json_object", "text")
_UNSET: Any = object()


class ToolCallingChatModel(BaseChatModel, ABC):
    """A chat model whose calls take tools and a response format as the OpenAI API writes them."""

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: ToolChoice | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        response_format: SchemaLike | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let replies call tools.

        Args:
            tools: Functions, ``BaseTool`` objects, classes with fields, or dicts as OpenAI,
                Anthropic or Bedrock writes them.
            tool_choice: "auto" (default): the model decides; "any", "required" or True: it must
                call a tool; a tool or its name: that one; "none": it must not call any.
            parallel_tool_calls: Whether one reply may hold several calls. Default: yes.
            strict: Whether to forbid additional properties in the tools' schemas.
            response_format: A schema for replies that call no tool, or OpenAI's dict for it.
            **kwargs: Further arguments of the calls.

        Raises:
            ParameterError: Something is not a tool, or no tool has the name chosen.
        """
        written = openai_tools(tools, strict=strict)
        optional = {
            "tool_choice": openai_choice(tool_choice, written),
            "parallel_tool_calls": parallel_calls(tool_choice, parallel=parallel_tool_calls),
            "response_format": None if response_format is None else openai_format(response_format),
        }
        kwargs |= {name: value for name, value in optional.items() if value is not None}
        return self.bind(tools=written, **kwargs)

    def with_structured_output(
        self,
        schema: SchemaLike | None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return replies as objects that match a schema.

        Args:
            schema: A pydantic class (v2 or v1): replies are its objects. A TypedDict, a dataclass,
                a JSON schema, or a function as OpenAI writes it: they are dicts. A type such as
                ``list[Person]``, ``A | B`` or an enum: its values, not with "function_calling".
                None, with "json_mode": any JSON object.
            method: "json_schema" and "json_mode": the reply's text matches the schema, and where
                the reply calls one of ``tools`` instead, the result is None; "function_calling":
                the arguments of a tool call match it.
            include_raw: Whether to return a dict of "raw" (the message), "parsed" and
                "parsing_error" (which is raised otherwise).
            strict: Whether to forbid additional properties in a called function's schema.
            **kwargs: Further arguments of the calls.

        Raises:
            ParameterError: The schema is invalid or missing, or the method unknown.
        """
        if method not in get_args(Method):
            raise ParameterError(f"method is {method!r}: use one of {', '.join(get_args(Method))}.")
        if schema is None and method != "json_mode":
            raise ParameterError(f"method={method!r} needs a schema.")
        if is_type(schema) and method == "function_calling":
            raise ParameterError(
                f"{schema!r} is no function's arguments: use method='json_schema', or a class that "
                "has a field of this type."
            )
        target: Any = schema
        is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
        # LangChain converts it for the trace, where it cannot read every TypedDict.
        shown = schema if schema is None or is_class else json_schema(schema)
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": shown}
        parser: BaseOutputParser[Any]
        if method == "function_calling":
            name = openai_tools([target])[0]["function"]["name"]
            llm = self.bind_tools(
                [target],
                tool_choice=name,
                parallel_tool_calls=False,
                strict=strict,
                ls_structured_output_format=traced,
                **kwargs,
            )
            parser = (
                _PydanticCallParser(tools=[target], first_tool_only=True)
                if is_class
                else _CallParser(key_name=name, first_tool_only=True)
            )
        else:
            wanted = {"type": "json_object"} if schema is None else openai_format(schema)
            llm = self.bind(response_format=wanted, ls_structured_output_format=traced, **kwargs)
            if is_type(schema):
                parser = _TypeParser(kind=readable_type(schema))
            elif is_class:
                parser = _PydanticParser(pydantic_object=target)
            else:
                parser = _JsonParser()
        if not include_raw:
            return llm | parser
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def openai_format(response_format: SchemaLike) -> dict[str, Any]:
    """Write a response format as the OpenAI API does.

    Args:
        response_format: A schema, or the OpenAI API's dict ("json_schema", "json_object", "text").

    Raises:
        ParameterError: It is not a schema.
    """
    if isinstance(response_format, Mapping) and response_format.get("type") in _FORMATS:
        written = dict(response_format)
        parse_response_format(written)  # so that an invalid one is an error here
        return written
    schema = json_schema(response_format)
    name = str(schema.get("title", "output"))
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


class _ReplyParser(BaseOutputParser[Any]):
    """Parses a reply; one that is incomplete or invalid is an error that holds its text."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the value; None if there is none, or none so far."""
        message = _message(result)
        _check(message)
        try:
            return super().parse_result(result, partial=partial)
        except OutputParserException:
            raise
        except ValueError as error:
            raise OutputParserException(
                f"The reply cannot be parsed: {error}", llm_output=_written(message)
            ) from error


class _StreamParser(_ReplyParser, BaseTransformOutputParser[Any]):
    """Parses a reply as it grows.

    A stream ends as the call does: with its value, which may be None, or with the error.
    """

    def _transform(self, input: Iterator[Any]) -> Iterator[Any]:  # noqa: A002 - LangChain's name
        reply, last = None, _UNSET
        for chunk in input:
            reply = chunk if reply is None else reply + chunk
            value = self.parse_result([ChatGeneration(message=reply)], partial=True)
            if value is not None and value != last:
                yield (last := value)
        value = self.parse_result([ChatGeneration(message=reply)])
        if value != last:
            yield value

    async def _atransform(self, input: AsyncIterator[Any]) -> AsyncIterator[Any]:  # noqa: A002
        reply, last = None, _UNSET
        async for chunk in input:
            reply = chunk if reply is None else reply + chunk
            value = await self.aparse_result([ChatGeneration(message=reply)], partial=True)
            if value is not None and value != last:
                yield (last := value)
        value = await self.aparse_result([ChatGeneration(message=reply)])
        if value != last:
            yield value


class _CallParser(_StreamParser, JsonOutputKeyToolsParser):
    """Parses a call's arguments as a dict."""


class _PydanticCallParser(_StreamParser, PydanticToolsParser):
    """Parses a call's arguments as an object of a pydantic class."""


class _TextParser(BaseOutputParser[Any]):
    """Parses a reply's text; a reply that calls tools and has no text is None.

    As in ``ChatOpenAI``: the value comes in a later reply, once the tools have answered.
    """

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the value, or None."""
        message = _message(result)
        if message.tool_calls and not message.text:
            return None
        return super().parse_result(result, partial=partial)


class _JsonParser(_StreamParser, _TextParser, JsonOutputParser):
    """Parses JSON as a dict."""


class _PydanticParser(_StreamParser, _TextParser, PydanticOutputParser[TBaseModel]):
    """Parses JSON as an object of a pydantic class, whose decimals keep all digits."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object; None if there is none, or none so far."""
        found = super().parse_result(result, partial=partial)
        if partial or not isinstance(found, BaseModel):
            return found
        loaded = load_decimals(TypeAdapter(type(found)), result[0].text)
        return found if loaded is None else self._parse_obj(loaded)


class _TypeParser(_ReplyParser, _TextParser):
    """Parses JSON as a value of a type."""

    kind: Any

    def parse(self, text: str) -> Any:
        """Return the value."""
        return parse_json(self.kind, text)


def _message(result: list[Generation]) -> AIMessage:
    """Return the message of a reply, or of its beginning."""
    message = getattr(result[0], "message", None)
    return message if isinstance(message, AIMessage) else AIMessage(result[0].text)


def _written(message: AIMessage) -> str:
    """Return the text of a message, and the arguments of the calls it makes."""
    if isinstance(message, AIMessageChunk):
        return message.text + "".join(chunk["args"] or "" for chunk in message.tool_call_chunks)
    valid = (json.dumps(call["args"], ensure_ascii=False) for call in message.tool_calls)
    return "".join([message.text, *valid, *(c["args"] or "" for c in message.invalid_tool_calls)])


def _check(message: AIMessage) -> None:
    """Raise if a reply is incomplete or does not match.

    LangChain's parsers complete a truncated reply by guessing, and do not validate dicts.
    """
    metadata = message.response_metadata
    if metadata.get("finish_reason") == "length":
        raise OutputParserException(
            "The reply reached max_tokens before its end: raise max_tokens.",
            llm_output=_written(message),
        )
    if validation_error := metadata.get("validation_error"):
        raise OutputParserException(
            f"The reply does not match the schema: {validation_error}",
            llm_output=_written(message),
        )
    for call in metadata.get("invalid_tool_calls", ()):
        raise OutputParserException(
            f"The arguments do not match the schema: {call['error']}", llm_output=call["text"]
        )
