"""Tools: write what LangChain accepts as tools and tool choice as the OpenAI API does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_urial.schemas import is_function, json_schema
from urial_core import tool_choice
from urial_core.errors import ParameterError
from urial_core.openai_tools import parse_tools

__all__ = ["ToolChoice", "ToolLike", "openai_choice", "openai_tools"]

ToolLike = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
"""What LangChain accepts as a tool: see ``langchain_urial.schemas.SchemaLike``."""

ToolChoice = str | bool | ToolLike
"""Which tool to call, as any of LangChain's integrations has it, or the tool itself."""


def openai_tools(tools: Sequence[ToolLike], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Write tools as the OpenAI API does.

    Args:
        tools: The tools. Duplicates are left out.
        strict: Whether to forbid additional properties in their schemas. Default: leave the schemas
            as they are.

    Raises:
        ParameterError: One is not a function, takes no object, or runs on some provider's servers.
    """
    written = list[dict[str, Any]]()
    for tool in tools:
        if (one := _openai_tool(tool, strict=strict)) not in written:
            written.append(one)
    return written


def openai_choice(
    choice: ToolChoice | None, tools: Sequence[Mapping[str, Any]]
) -> str | dict[str, Any] | None:
    """Write a choice as the OpenAI API does.

    Args:
        choice: A tool that was bound, or what ``urial_core.tool_choice`` reads.
        tools: The tools to choose from, in the OpenAI API's form.

    Raises:
        ParameterError: The choice is unknown, or names an unknown tool.
    """
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        return dict(choice)
    if isinstance(choice, BaseTool) or callable(choice):
        choice = str(_openai_tool(choice, strict=None)["function"]["name"])
    return tool_choice.openai_choice(choice, [str(tool["function"].get("name")) for tool in tools])


def _openai_tool(tool: ToolLike, *, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping) and "function" in tool:
        written = dict(tool)
    elif isinstance(tool, Mapping) and _is_hosted(tool):
        raise ParameterError(
            f"The tool {tool.get('name') or tool.get('type')!r} is run by its provider's "
            "servers, which a base model does not have: bind a function instead."
        )
    else:
        try:
            written = convert_to_openai_tool(_function(tool), strict=strict)
        except (ParameterError, LookupError, TypeError, ValueError) as error:
            raise ParameterError(f"{tool!r} cannot be bound as a tool: {error}") from error
    parse_tools([written])  # so that an invalid one is an error here
    return written


def _function(tool: ToolLike) -> dict[str, Any]:
    """Return a tool as a function of the OpenAI API."""
    parameters = json_schema(tool)
    name = parameters.pop("title", None) or parameters.pop("name", None)
    if name is None:
        raise ParameterError("a JSON schema needs a title to be the function's name.")
    description = parameters.pop("description", "")
    return {"name": name, "description": description, "parameters": parameters}


def _is_hosted(tool: Mapping[str, Any]) -> bool:
    """Return whether a provider's servers run a tool: it has a type, and describes no function."""
    described = is_function(tool) or "title" in tool or "properties" in tool
    return not described and tool.get("type", "object") != "object"
