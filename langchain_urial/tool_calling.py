"""Tool calling and structured output, as LangChain asks a chat model for them."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from langchain_urial.structured_output import Method, SchemaLike, openai_format, structured
from langchain_urial.tools import ToolChoice, ToolLike, openai_choice, openai_tools

__all__ = ["ToolCallingChatModel"]


class ToolCallingChatModel(BaseChatModel, ABC):
    """A chat model whose calls take tools and forms in the OpenAI API's words."""

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
            tools: Functions, ``BaseTool`` objects, pydantic classes, or dicts in OpenAI's or
                Anthropic's form.
            tool_choice: "auto" (default): the model decides; "any", "required" or True: it must
                call a tool; a tool's name: that one; "none": it must not call any.
            parallel_tool_calls: Whether one reply may hold several calls. Default: yes.
            strict: Whether the schemas are to forbid arguments that they do not name.
            response_format: A schema for replies that call no tool, or OpenAI's dict for it.
            **kwargs: Further arguments of the calls.

        Raises:
            ParameterError: Something is no tool, or no tool has the name chosen.
        """
        written = openai_tools(tools, strict=strict)
        if (choice := openai_choice(tool_choice, written)) is not None:
            kwargs["tool_choice"] = choice
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if response_format is not None:
            kwargs["response_format"] = openai_format(response_format)
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
        """Have replies come as objects that fit a schema.

        Args:
            schema: A pydantic class (v2 or v1): replies are its objects. A TypedDict, a JSON
                schema, or a function in OpenAI's form: they are dicts.
            method: "json_schema": the reply's text fits the schema; "json_mode" does the same, and
                takes None for any object; "function_calling": the arguments of a call do.
            include_raw: Whether to return a dict of "raw" (the message), "parsed" and
                "parsing_error" (which is raised otherwise).
            strict: Whether a called function is to forbid arguments that it does not name.
            **kwargs: Further arguments of the calls.

        Raises:
            ParameterError: The schema is none, or the method unknown.
        """
        return structured(self, schema, method, include_raw=include_raw, strict=strict, **kwargs)
