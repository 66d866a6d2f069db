"""Structured output: replies that fit a schema, as objects of the user's own type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langchain_urial.tools import openai_tools
from urial_core.errors import ParameterError
from urial_core.openai_tools import parse_response_format

__all__ = ["Method", "SchemaLike", "openai_format", "structured"]

Method = Literal["json_schema", "function_calling", "json_mode"]
"""How a reply is brought into form."""

SchemaLike = Mapping[str, Any] | type
"""A pydantic class (v2 or v1), a TypedDict, a JSON schema, or a function as OpenAI writes it."""

_FORMATS = ("json_schema", "json_object", "text")
_FUNCTION_KEYS = ("function", "parameters", "input_schema", "toolSpec")


def openai_format(response_format: SchemaLike) -> dict[str, Any]:
    """Write the form of a reply as the OpenAI API does.

    Args:
        response_format: That already ("json_schema", "json_object" or "text"), or a schema.

    Raises:
        ParameterError: It is no schema.
    """
    if isinstance(response_format, Mapping) and response_format.get("type") in _FORMATS:
        written = dict(response_format)
        parse_response_format(written)  # so that what is wrong is an error here
        return written
    schema = _json_schema(response_format)
    name = str(schema.get("title", "output"))
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def structured(
    chat: BaseChatModel,
    schema: SchemaLike | None,
    method: Method,
    *,
    include_raw: bool,
    strict: bool | None,
    **kwargs: Any,
) -> Runnable[LanguageModelInput, Any]:
    """Put a parser behind a chat model that is held to a schema.

    Args:
        chat: The chat model.
        schema: What replies are to be; with "json_mode", None stands for any object.
        method: Whether the reply's text is to fit the schema, or the arguments of a call.
        include_raw: Whether to return the message and a parser's error too.
        strict: Whether a tool's schema is to forbid what it does not name.
        **kwargs: Further arguments of the calls.

    Raises:
        ParameterError: An unknown method, or no schema where one is needed.
    """
    if method not in get_args(Method):
        raise ParameterError(f"method is {method!r}: use one of {', '.join(get_args(Method))}.")
    if schema is None and method != "json_mode":
        raise ParameterError(f"method={method!r} needs a schema.")
    told = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    parser: BaseOutputParser[Any]
    if method == "function_calling":
        function: Any = schema
        name = openai_tools([function])[0]["function"]["name"]
        llm = chat.bind_tools(
            [function],
            tool_choice=name,
            parallel_tool_calls=False,
            strict=strict,
            ls_structured_output_format=told,
            **kwargs,
        )
        parser = (
            PydanticToolsParser(tools=[schema], first_tool_only=True)
            if isinstance(schema, type) and is_basemodel_subclass(schema)
            else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        )
    else:
        wanted = {"type": "json_object"} if schema is None else openai_format(schema)
        llm = chat.bind(response_format=wanted, ls_structured_output_format=told, **kwargs)
        parser = (
            PydanticOutputParser(pydantic_object=schema)
            if isinstance(schema, type) and is_basemodel_subclass(schema)
            else JsonOutputParser()
        )
    complete = RunnableGenerator(_complete, _acomplete) | parser
    if not include_raw:
        return llm | complete
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | complete, parsing_error=lambda _: None
    )
    unparsed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([unparsed], exception_key="parsing_error")


def _json_schema(schema: SchemaLike) -> dict[str, Any]:
    """A schema as JSON schema, references and all."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    if isinstance(schema, Mapping) and not any(key in schema for key in _FUNCTION_KEYS):
        return dict(schema)
    try:
        return convert_to_json_schema(schema)  # type: ignore[arg-type] # it takes TypedDicts too
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{schema!r} is no schema: {error}") from error


def _complete(messages: Iterator[AIMessage]) -> Iterator[AIMessage]:
    text = ""
    for message in messages:
        text += message.text
        _check(message, text)
        yield message


async def _acomplete(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    text = ""
    async for message in messages:
        text += message.text
        _check(message, text)
        yield message


def _check(message: AIMessage, text: str) -> None:
    """Refuse a reply that is not whole or does not fit, of which this is the last message.

    LangChain's parsers would complete the one by guessing, and do not hold dicts to a schema.
    """
    metadata = message.response_metadata
    if metadata.get("finish_reason") == "length":
        raise OutputParserException(
            "The reply reached max_tokens before its end: give it more.", llm_output=text
        )
    if validation_error := metadata.get("validation_error"):
        raise OutputParserException(
            f"The reply does not fit the schema: {validation_error}", llm_output=text
        )
    if message.invalid_tool_calls and not isinstance(message, AIMessageChunk):
        [invalid, *_] = message.invalid_tool_calls
        raise OutputParserException(
            f"The arguments do not fit the schema: {invalid['error']}", llm_output=invalid["args"]
        )
